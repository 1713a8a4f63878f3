//! Takes out of a picture what must not be published: positions, cameras, owners, embedded previews, trailing data.
//! Lossless: pixels are copied as they stand. What decides the looks stays: colour profile, transparency, animation,
//! and the orientation, which is written anew as the only tag of a fresh EXIF block. What is kept moves up in the very buffer
//! in which the picture came, so that there is never a second one.

use std::ops::Range;

use image::metadata::Orientation;

use crate::photo::PictureKind;

/// The bytes do not have the structure of their kind.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

pub struct Stripped {
    pub bytes: Vec<u8>,
    /// How many of them tell all but the pixels; where that is not known, all.
    pub head: usize,
    pub orientation: Orientation,
}

pub fn strip(kind: PictureKind, bytes: Vec<u8>) -> Result<Stripped, Malformed> {
    let stripping = Stripping { bytes, kept: 0 };
    match kind {
        PictureKind::Jpeg => strip_jpeg(stripping),
        PictureKind::Png => strip_png(stripping),
        PictureKind::Gif => strip_gif(stripping),
        PictureKind::Webp => strip_webp(stripping),
    }
    .ok_or(Malformed)
}

/// A picture of which so much is kept at its beginning. What is kept never reaches beyond what has been read.
struct Stripping {
    bytes: Vec<u8>,
    kept: usize,
}

impl Stripping {
    fn keep(&mut self, read: Range<usize>) {
        let length = read.len();
        if read.start != self.kept {
            self.bytes.copy_within(read, self.kept);
        }
        self.kept += length;
    }

    /// In the place of something read, or behind all.
    fn put(&mut self, byte: u8) {
        match self.bytes.get_mut(self.kept) {
            Some(there) => *there = byte,
            None => self.bytes.push(byte),
        }
        self.kept += 1;
    }

    fn kept(mut self) -> Vec<u8> {
        self.bytes.truncate(self.kept);
        self.bytes.shrink_to_fit();
        self.bytes
    }
}

fn orientation_of(exif: &[u8]) -> Option<Orientation> {
    Orientation::from_exif_chunk(exif).filter(|orientation| *orientation != Orientation::NoTransforms)
}

/// A TIFF block whose one tag is the orientation (0x0112, one SHORT).
fn minimal_exif(orientation: Orientation) -> [u8; 26] {
    let mut tiff = *b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\0\0\0\0\0\0\0\0";
    tiff[18] = orientation.to_exif();
    tiff
}

/// Segments up to each scan, then the scan itself up to its next marker; ends at EOI, so that what phones
/// append behind it (videos, second pictures, with positions) is gone.
fn strip_jpeg(mut stripping: Stripping) -> Option<Stripped> {
    stripping.bytes.get(..2)?;
    stripping.keep(0..2);
    let mut orientation = None;
    let mut insert_exif_at = 2;
    let mut head = None;
    let mut at = 2;
    loop {
        let bytes = stripping.bytes.as_slice();
        if *bytes.get(at)? != 0xFF {
            return None;
        }
        // Any number of 0xFF may stand before a marker's code.
        while *bytes.get(at + 1)? == 0xFF {
            at += 1;
        }
        let marker = bytes[at + 1];
        if marker == 0xD9 {
            stripping.keep(at..at + 2);
            break;
        }
        if (0xD0..=0xD7).contains(&marker) || marker == 0x01 {
            stripping.keep(at..at + 2);
            at += 2;
            continue;
        }
        let length = usize::from(u16::from_be_bytes([*bytes.get(at + 2)?, *bytes.get(at + 3)?]));
        let end = at + 2 + length;
        let body = bytes.get(at + 4..end)?;
        let keep = match marker {
            0xE0 => body.starts_with(b"JFIF\0"),
            0xE1 => {
                if let Some(exif) = body.strip_prefix(b"Exif\0\0") {
                    orientation = orientation.or_else(|| orientation_of(exif));
                }
                false
            }
            0xE2 => body.starts_with(b"ICC_PROFILE\0"),
            0xEE => body.starts_with(b"Adobe"),
            0xE3..=0xEF | 0xFE => false,
            _ => true,
        };
        if keep {
            stripping.keep(at..end);
            if marker == 0xE0 {
                insert_exif_at = stripping.kept;
            }
        }
        at = end;
        if marker == 0xDA {
            head.get_or_insert(stripping.kept);
            let scan_end = scan_end(&stripping.bytes, at);
            stripping.keep(at..scan_end);
            at = scan_end;
            if at == stripping.bytes.len() {
                // Cut off in the middle of a scan: decoders show what there is, and so do we.
                stripping.put(0xFF);
                stripping.put(0xD9);
                break;
            }
        }
    }
    let mut kept = stripping.kept();
    if let Some(orientation) = orientation {
        let tiff = minimal_exif(orientation);
        let mut segment = vec![0xFF, 0xE1];
        segment.extend_from_slice(&(2 + 6 + tiff.len() as u16).to_be_bytes());
        segment.extend_from_slice(b"Exif\0\0");
        segment.extend_from_slice(&tiff);
        head = head.map(|head| if insert_exif_at <= head { head + segment.len() } else { head });
        kept.splice(insert_exif_at..insert_exif_at, segment);
    }
    Some(Stripped {
        head: head.unwrap_or(kept.len()),
        bytes: kept,
        orientation: orientation.unwrap_or(Orientation::NoTransforms),
    })
}

/// Where the entropy-coded data that begins at `at` ends: at a marker that is neither a stuffed zero nor a restart.
fn scan_end(bytes: &[u8], mut at: usize) -> usize {
    while at + 1 < bytes.len() {
        if bytes[at] == 0xFF && !matches!(bytes[at + 1], 0x00 | 0xD0..=0xD7 | 0xFF) {
            return at;
        }
        at += 1;
    }
    bytes.len()
}

fn strip_png(mut stripping: Stripping) -> Option<Stripped> {
    const KEPT: [&[u8; 4]; 20] = [
        b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"bKGD", b"pHYs",
        b"hIST", b"cICP", b"mDCV", b"cLLI", b"acTL", b"fcTL", b"fdAT", b"sTER",
    ];
    stripping.bytes.get(..8)?;
    stripping.keep(0..8);
    let mut orientation = None;
    let mut insert_exif_at = None;
    let mut at = 8;
    loop {
        let bytes = stripping.bytes.as_slice();
        let length = u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize;
        let kind: [u8; 4] = bytes.get(at + 4..at + 8)?.try_into().ok()?;
        let end = at.checked_add(12)?.checked_add(length)?;
        let body = bytes.get(at + 8..end - 4)?;
        let _checksum = bytes.get(end - 4..end)?;
        if &kind == b"eXIf" {
            orientation = orientation_of(body);
        }
        if &kind == b"IDAT" {
            insert_exif_at.get_or_insert(stripping.kept);
        }
        if KEPT.contains(&&kind) {
            stripping.keep(at..end);
        } else if kind[0].is_ascii_uppercase() {
            // A critical chunk that we do not know: a decoder must refuse it, and so do we.
            return None;
        }
        if &kind == b"IEND" {
            break;
        }
        at = end;
    }
    let mut kept = stripping.kept();
    if let Some((orientation, at)) = orientation.zip(insert_exif_at) {
        let tiff = minimal_exif(orientation);
        let mut chunk = (tiff.len() as u32).to_be_bytes().to_vec();
        chunk.extend_from_slice(b"eXIf");
        chunk.extend_from_slice(&tiff);
        let checksum = crc32(&chunk[4..]);
        chunk.extend_from_slice(&checksum.to_be_bytes());
        kept.splice(at..at, chunk);
    }
    Some(Stripped { head: kept.len(), bytes: kept, orientation: orientation.unwrap_or(Orientation::NoTransforms) })
}

fn strip_webp(mut stripping: Stripping) -> Option<Stripped> {
    const EXIF_FLAG: u8 = 0x08;
    const XMP_FLAG: u8 = 0x04;
    stripping.bytes.get(..12)?;
    stripping.keep(0..12);
    let declared = u32::from_le_bytes(stripping.bytes.get(4..8)?.try_into().ok()?) as usize;
    stripping.bytes.truncate(declared.checked_add(8)?);
    let mut orientation = None;
    let mut flags_at = None;
    let mut at = 12;
    while at + 8 <= stripping.bytes.len() {
        let whole = stripping.bytes.as_slice();
        let length = u32::from_le_bytes(whole.get(at + 4..at + 8)?.try_into().ok()?) as usize;
        let end = at.checked_add(8)?.checked_add(length)?;
        let body = whole.get(at + 8..end)?;
        match &whole[at..at + 4] {
            b"EXIF" => orientation = orientation_of(body.strip_prefix(b"Exif\0\0").unwrap_or(body)),
            b"VP8X" | b"VP8 " | b"VP8L" | b"ALPH" | b"ANIM" | b"ANMF" | b"ICCP" => {
                if &whole[at..at + 4] == b"VP8X" {
                    flags_at = Some(stripping.kept + 8);
                }
                stripping.keep(at..end);
                if length % 2 == 1 {
                    stripping.put(0);
                }
            }
            _ => {}
        }
        at = end + length % 2;
    }
    let mut kept = stripping.kept();
    if let Some(flags_at) = flags_at {
        let flags = kept.get_mut(flags_at)?;
        *flags &= !(EXIF_FLAG | XMP_FLAG);
        if let Some(orientation) = orientation {
            *flags |= EXIF_FLAG;
            let tiff = minimal_exif(orientation);
            kept.extend_from_slice(b"EXIF");
            kept.extend_from_slice(&(tiff.len() as u32).to_le_bytes());
            kept.extend_from_slice(&tiff);
        }
    } else {
        // Without VP8X there is no EXIF by the format's rules, so browsers turn nothing either.
        orientation = None;
    }
    let length = u32::try_from(kept.len() - 8).ok()?;
    kept[4..8].copy_from_slice(&length.to_le_bytes());
    Some(Stripped { head: kept.len(), bytes: kept, orientation: orientation.unwrap_or(Orientation::NoTransforms) })
}

fn strip_gif(mut stripping: Stripping) -> Option<Stripped> {
    let colour_table = |flags: u8| if flags & 0x80 != 0 { 3 << ((flags & 7) + 1) } else { 0 };
    let mut at = 13 + colour_table(*stripping.bytes.get(10)?);
    stripping.bytes.get(..at)?;
    stripping.keep(0..at);
    while let Some(introducer) = stripping.bytes.get(at) {
        let bytes = stripping.bytes.as_slice();
        let (end, keep) = match introducer {
            0x21 => {
                let body = bytes.get(at + 3..)?;
                let keep = match bytes.get(at + 1)? {
                    0xF9 | 0x01 => true,
                    0xFF => {
                        [b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012"].iter().any(|known| body.starts_with(*known))
                    }
                    _ => false,
                };
                (sub_blocks_end(bytes, at + 2)?, keep)
            }
            0x2C => {
                let data = at + 10 + colour_table(*bytes.get(at + 9)?) + 1;
                (sub_blocks_end(bytes, data)?, true)
            }
            0x3B => break,
            _ => return None,
        };
        if keep {
            stripping.keep(at..end);
        }
        at = end;
    }
    stripping.put(0x3B);
    let kept = stripping.kept();
    Some(Stripped { head: kept.len(), bytes: kept, orientation: Orientation::NoTransforms })
}

fn sub_blocks_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1 + length;
        if length == 0 {
            return Some(at);
        }
    }
}

/// PNG's checksum (ISO 3309), bit by bit: it only ever runs over a few dozen bytes.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn encoded(kind: PictureKind) -> Vec<u8> {
        let picture = image::DynamicImage::ImageRgb8(image::RgbImage::from_fn(40, 30, |x, y| {
            image::Rgb([x as u8 * 6, y as u8 * 8, 90])
        }));
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, kind.format()).unwrap();
        bytes.into_inner()
    }

    /// An EXIF block with an orientation of 6 and a marker text where a position would stand.
    fn exif() -> Vec<u8> {
        let mut tiff = minimal_exif(Orientation::Rotate90).to_vec();
        tiff.extend_from_slice(b"SECRET POSITION");
        tiff
    }

    fn contains(bytes: &[u8], text: &[u8]) -> bool {
        bytes.windows(text.len()).any(|window| window == text)
    }

    fn png_chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut chunk = (body.len() as u32).to_be_bytes().to_vec();
        chunk.extend_from_slice(kind);
        chunk.extend_from_slice(body);
        let checksum = crc32(&chunk[4..]);
        chunk.extend_from_slice(&checksum.to_be_bytes());
        chunk
    }

    fn with_secrets(kind: PictureKind) -> Vec<u8> {
        let mut bytes = encoded(kind);
        match kind {
            PictureKind::Jpeg => {
                let mut segment = vec![0xFF, 0xE1];
                segment.extend_from_slice(&(2 + 6 + exif().len() as u16).to_be_bytes());
                segment.extend_from_slice(b"Exif\0\0");
                segment.extend_from_slice(&exif());
                segment.extend_from_slice(b"\xFF\xFE\x00\x08SECRET");
                bytes.splice(2..2, segment);
                bytes.extend_from_slice(b"SECRET trailer");
            }
            PictureKind::Png => {
                let mut chunks = png_chunk(b"eXIf", &exif());
                chunks.extend(png_chunk(b"tEXt", b"Comment\0SECRET"));
                chunks.extend(png_chunk(b"iTXt", b"XML\0SECRET"));
                bytes.splice(33..33, chunks);
                bytes.extend_from_slice(b"SECRET trailer");
            }
            PictureKind::Gif => {
                let at = 13 + (3 << ((bytes[10] & 7) + 1));
                bytes.splice(at..at, *b"\x21\xFE\x06SECRET\0");
                bytes.extend_from_slice(b"SECRET trailer");
            }
            PictureKind::Webp => {
                let plain = bytes.split_off(12);
                let mut extended = b"VP8X\x0a\0\0\0\x0c\0\0\0".to_vec();
                extended.extend_from_slice(&[39, 0, 0, 29, 0, 0]);
                extended.extend(plain);
                for (kind, body) in [(b"EXIF", exif()), (b"XMP ", b"SECRET".to_vec())] {
                    extended.extend_from_slice(kind);
                    extended.extend_from_slice(&(body.len() as u32).to_le_bytes());
                    extended.extend_from_slice(&body);
                    if body.len() % 2 == 1 {
                        extended.push(0);
                    }
                }
                bytes.extend(extended);
                let length = (bytes.len() as u32 - 8).to_le_bytes();
                bytes[4..8].copy_from_slice(&length);
                bytes.extend_from_slice(b"SECRET trailer");
            }
        }
        bytes
    }

    #[test]
    fn secrets_go_pixels_and_orientation_stay() {
        for kind in [PictureKind::Jpeg, PictureKind::Png, PictureKind::Gif, PictureKind::Webp] {
            let bytes = with_secrets(kind);
            assert!(contains(&bytes, b"SECRET"), "{kind:?}");
            let stripped = strip(kind, bytes.clone()).unwrap();
            assert!(!contains(&stripped.bytes, b"SECRET"), "{kind:?}");
            let before = image::load_from_memory_with_format(&encoded(kind), kind.format()).unwrap();
            let after = image::load_from_memory_with_format(&stripped.bytes, kind.format()).unwrap();
            assert_eq!(before, after, "{kind:?}");
            let head = Cursor::new(&stripped.bytes[..stripped.head]);
            let size = image::ImageReader::with_format(head, kind.format()).into_dimensions().unwrap();
            assert_eq!(size, (40, 30), "{kind:?}");
            assert_eq!(stripped.head < stripped.bytes.len(), kind == PictureKind::Jpeg);
            if kind != PictureKind::Gif {
                assert_eq!(stripped.orientation, Orientation::Rotate90, "{kind:?}");
                let mut reader = image::ImageReader::with_format(Cursor::new(&stripped.bytes), kind.format())
                    .into_decoder()
                    .unwrap();
                assert_eq!(image::ImageDecoder::orientation(&mut reader).unwrap(), Orientation::Rotate90, "{kind:?}");
            }
            assert_eq!(
                strip(kind, stripped.bytes.clone()).unwrap().bytes,
                stripped.bytes,
                "{kind:?}: a second time changes nothing"
            );
        }
    }

    #[test]
    fn a_plain_picture_is_kept_byte_for_byte() {
        for kind in [PictureKind::Png, PictureKind::Gif, PictureKind::Webp] {
            let bytes = encoded(kind);
            assert_eq!(strip(kind, bytes.clone()).unwrap().bytes, bytes, "{kind:?}");
        }
    }

    #[test]
    fn no_cut_off_file_makes_it_panic() {
        for kind in [PictureKind::Jpeg, PictureKind::Png, PictureKind::Gif, PictureKind::Webp] {
            let bytes = with_secrets(kind);
            for length in 0..bytes.len() {
                let _ = strip(kind, bytes[..length].to_vec());
            }
        }
    }
}
