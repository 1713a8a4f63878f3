//! What a picture is to us: its name, its kind, the keys of its objects, its row. Pure: no HTTP, no SQL, no S3.

use std::fmt;

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::CodePointMapData;
use icu_properties::props::{GeneralCategory, GeneralCategoryGroup};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rand::RngExt;

/// The most characters a name may have.
pub const MAX_NAME_CHARS: usize = 128;
/// The largest picture file.
pub const MAX_BYTES: usize = 25 * 1024 * 1024;
/// The longest side, in pixels.
pub const MAX_SIDE: u32 = 12_000;
/// The largest area, in pixels.
pub const MAX_AREA: u64 = 40_000_000;
/// The longest side of a thumbnail, in pixels.
pub const THUMBNAIL_SIDE: u32 = 320;

/// What percent-encoding leaves alone in a name.
const NAME_SET: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A picture's name: 1 to 128 letters, digits, `_`, `.` and `-` of any script, in Unicode's composed form.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PhotoName(String);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("this is not a valid picture name")]
pub struct InvalidName;

impl PhotoName {
    pub const HINT: &str = "a name has 1 to 128 letters, digits, `_`, `.` or `-`, and is not `.` or `..`";

    /// A name is never a path and never part of an S3 key; what it may hold is a list of what is allowed.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        // Composing never adds characters beyond three times the input; refuse before working on it.
        if text.is_empty() || text.len() > MAX_NAME_CHARS * 12 {
            return Err(InvalidName);
        }
        let composed = ComposingNormalizerBorrowed::new_nfc().normalize(text).into_owned();
        let allowed = |c: char| matches!(c, '_' | '.' | '-') || is_letter_or_number(c);
        if composed == "."
            || composed == ".."
            || composed.chars().count() > MAX_NAME_CHARS
            || !composed.chars().all(allowed)
        {
            return Err(InvalidName);
        }
        Ok(Self(composed))
    }

    /// The name that a file suggests: without folders and extension, with `-` for what no name may hold.
    pub fn from_file_name(file_name: &str) -> Result<Self, InvalidName> {
        let file = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
        let stem = match file.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() && !extension.is_empty() => stem,
            _ => file,
        };
        let composed = ComposingNormalizerBorrowed::new_nfc().normalize(stem);
        let words = composed.split(|c: char| !(matches!(c, '_' | '.' | '-') || is_letter_or_number(c)));
        let name: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        let name: String = name.join("-").chars().take(MAX_NAME_CHARS).collect();
        Self::parse(&name)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name as it stands in a URL's path.
pub(crate) fn percent_encoded(name: &str) -> String {
    utf8_percent_encode(name, NAME_SET).to_string()
}

fn is_letter_or_number(c: char) -> bool {
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    GeneralCategoryGroup::Letter.contains(category) || GeneralCategoryGroup::Number.contains(category)
}

impl fmt::Display for PhotoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The kinds of picture we keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureKind {
    Jpeg,
    Png,
    Gif,
    Webp,
}

impl PictureKind {
    /// Decided by the first bytes alone; what the sender calls it does not count.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(&[0xFF, 0xD8, 0xFF]) {
            Some(Self::Jpeg)
        } else if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a") {
            Some(Self::Gif)
        } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            Some(Self::Webp)
        } else {
            None
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
        }
    }

    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::Gif => "gif",
            Self::Webp => "webp",
        }
    }

    pub(crate) fn format(self) -> image::ImageFormat {
        match self {
            Self::Jpeg => image::ImageFormat::Jpeg,
            Self::Png => image::ImageFormat::Png,
            Self::Gif => image::ImageFormat::Gif,
            Self::Webp => image::ImageFormat::WebP,
        }
    }
}

/// The random part that a picture's two objects share. A new one for every upload, so that an object
/// never changes, no cache of it is ever stale, and no two uploads meet at S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectKey(String);

impl ObjectKey {
    pub fn random() -> Self {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let mut rng = rand::rng();
        Self((0..26).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect())
    }

    /// From the key of an original, as the tables hold it.
    pub fn from_original(key: &str) -> Option<Self> {
        let random = key.strip_prefix("p/")?;
        let plain = random.len() == 26 && random.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        plain.then(|| Self(random.into()))
    }

    /// From an address: the random part alone.
    pub fn from_random(random: &str) -> Option<Self> {
        Self::from_original(&format!("p/{random}"))
    }

    pub fn random_part(&self) -> &str {
        &self.0
    }

    pub fn original(&self) -> String {
        format!("p/{}", self.0)
    }

    pub fn thumbnail(&self) -> String {
        format!("t/{}", self.0)
    }
}

/// One row: a picture that is there.
#[derive(Debug, Clone)]
pub struct Photo {
    pub id: u64,
    pub name: String,
    pub original_key: String,
    pub thumbnail_key: Option<String>,
    pub content_type: String,
    pub bytes: u64,
    pub width: u32,
    pub height: u32,
    pub sha256: Vec<u8>,
    /// RFC 3339, UTC.
    pub created: String,
    pub updated: String,
}

impl Photo {
    pub fn sha256_hex(&self) -> String {
        hex(&self.sha256)
    }

    /// The size at which the index shows it.
    pub fn thumbnail_size(&self) -> (u32, u32) {
        fit_within(self.width, self.height, THUMBNAIL_SIDE)
    }
}

/// What of a row the index shows; a page has a hundred of them, so it reads no more.
#[derive(Debug, Clone)]
pub struct Listed {
    pub id: u64,
    pub name: String,
    /// Of the thumbnail, or of the original where there is none.
    pub shown_key: String,
    pub width: u32,
    pub height: u32,
}

impl Listed {
    /// The size at which the index shows it.
    pub fn size(&self) -> (u32, u32) {
        fit_within(self.width, self.height, THUMBNAIL_SIDE)
    }
}

/// What an upload is about to become.
#[derive(Debug, Clone)]
pub struct NewPhoto {
    pub name: PhotoName,
    /// Whether it may take the place of another picture of its name.
    pub may_replace: bool,
    pub key: ObjectKey,
    pub has_thumbnail: bool,
    pub kind: PictureKind,
    pub bytes: u64,
    pub width: u32,
    pub height: u32,
    pub sha256: [u8; 32],
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Shrinks (never grows) to a longest side, keeping the shape.
pub(crate) fn fit_within(width: u32, height: u32, side: u32) -> (u32, u32) {
    let longest = width.max(height).max(1);
    if longest <= side {
        return (width.max(1), height.max(1));
    }
    let scale = |length: u32| {
        ((u64::from(length) * u64::from(side) + u64::from(longest) / 2) / u64::from(longest)).max(1) as u32
    };
    (scale(width), scale(height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_letters_digits_and_three_signs() {
        for good in [
            "cat",
            "Cat",
            "afdef75e0376bddfd",
            "a.b-c_d",
            "...",
            "写真",
            "Ünïcödé",
            "дом",
            "a".repeat(128).as_str(),
            "𝒳",
        ] {
            assert!(PhotoName::parse(good).is_ok(), "{good}");
        }
        let long = "a".repeat(129);
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "a%20",
            "😀",
            "a\0",
            "a\u{202e}b",
            "a\u{200b}",
            "a:b",
            "<b>",
            "a\"b",
            "a&b",
            "🅰",
            &long,
        ] {
            assert_eq!(PhotoName::parse(bad), Err(InvalidName), "{bad}");
        }
    }

    #[test]
    fn decomposed_and_composed_spellings_are_one_name() {
        assert_eq!(PhotoName::parse("cafe\u{301}"), PhotoName::parse("caf\u{e9}"));
        assert_ne!(PhotoName::parse("Cat"), PhotoName::parse("cat"));
    }

    #[test]
    fn a_file_name_suggests_a_name() {
        for (file, name) in [
            ("cat.jpeg", "cat"),
            ("C:\\pictures\\My cat (2).JPG", "My-cat-2"),
            ("holiday/day 1/a.b.png", "a.b"),
            (".hidden", ".hidden"),
            ("cafe\u{301}.gif", "caf\u{e9}"),
            ("写真 1.webp", "写真-1"),
        ] {
            assert_eq!(PhotoName::from_file_name(file).unwrap().as_str(), name, "{file}");
        }
        assert_eq!(PhotoName::from_file_name("😀.png"), Err(InvalidName));
        assert_eq!(PhotoName::from_file_name(""), Err(InvalidName));
    }

    #[test]
    fn both_keys_follow_from_the_original_one() {
        let key = ObjectKey::random();
        assert_eq!(ObjectKey::from_original(&key.original()), Some(key.clone()));
        assert_eq!(key.thumbnail()[1..], key.original()[1..]);
        for foreign in ["config/stack.json", "p/", "p/../config/database-password", "t/abc"] {
            assert_eq!(ObjectKey::from_original(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn thumbnails_keep_the_shape_and_never_grow() {
        assert_eq!(fit_within(1000, 500, 320), (320, 160));
        assert_eq!(fit_within(10, 20, 320), (10, 20));
        assert_eq!(fit_within(12_000, 1, 320), (320, 1));
    }
}
