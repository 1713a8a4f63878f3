//! Proving that bytes are a picture, and making its small version. Blocking and heavy: callers run it on
//! a blocking thread under a limit. Decoders may panic on hostile bytes; the thread's end tells the caller.

use std::io::Cursor;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{InnerPixel, U8x3, U8x4};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use image::metadata::Orientation;
use image::{DynamicImage, ImageReader, Limits, RgbImage, RgbaImage};
use sha2::{Digest, Sha256};

use crate::metadata;
use crate::photo::{MAX_AREA, MAX_BYTES, MAX_SIDE, PictureKind, THUMBNAIL_SIDE, fit_within};

/// JPEG, the most that comes and all that is made.
mod scaled_jpeg;

/// The most memory one decoding may ask for.
const MAX_DECODED_BYTES: u64 = 192 * 1024 * 1024;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PictureError {
    #[error("this file is not a picture that we keep")]
    NotAPicture,
    #[error("this {0} file is damaged and cannot be decoded")]
    Damaged(&'static str),
    #[error("this picture has {width} x {height} pixels, which is too many")]
    TooManyPixels { width: u32, height: u32 },
    #[error("decoding this picture would need too much memory")]
    TooMuchMemory,
    #[error("this file is larger than {} MB", MAX_BYTES / 1024 / 1024)]
    TooLarge,
}

/// A picture whose header is within the limits, without what must not be published.
#[derive(Debug, Clone)]
pub struct Picture {
    pub kind: PictureKind,
    /// What will be kept, after stripping.
    pub bytes: Vec<u8>,
    pub sha256: [u8; 32],
    /// As shown, that is after turning.
    pub width: u32,
    pub height: u32,
    orientation: Orientation,
}

impl Picture {
    /// A size as shown as the bytes have it, or the other way round.
    fn turned(&self, (width, height): (u32, u32)) -> (u32, u32) {
        if is_turned(self.orientation) { (height, width) } else { (width, height) }
    }
}

fn is_turned(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
    )
}

/// Decides the kind by the bytes, checks the limits before anything is decoded, strips, hashes.
pub fn inspect(bytes: Vec<u8>) -> Result<Picture, PictureError> {
    if bytes.len() > MAX_BYTES {
        return Err(PictureError::TooLarge);
    }
    let kind = PictureKind::of(&bytes).ok_or(PictureError::NotAPicture)?;
    let stripped = metadata::strip(kind, bytes).map_err(|_| PictureError::Damaged(name(kind)))?;
    // The reader copies what it is given.
    let head = &stripped.bytes[..stripped.head];
    let (width, height) = ImageReader::with_format(Cursor::new(head), kind.format())
        .into_dimensions()
        .map_err(|error| refusal(kind, &error))?;
    if width == 0 || height == 0 {
        return Err(PictureError::Damaged(name(kind)));
    }
    if width > MAX_SIDE || height > MAX_SIDE || u64::from(width) * u64::from(height) > MAX_AREA {
        return Err(PictureError::TooManyPixels { width, height });
    }
    let (width, height) = if is_turned(stripped.orientation) { (height, width) } else { (width, height) };
    let sha256 = Sha256::digest(&stripped.bytes).into();
    Ok(Picture { kind, bytes: stripped.bytes, sha256, width, height, orientation: stripped.orientation })
}

/// Really decodes the picture, and answers with a JPEG of at most 320 pixels a side. A picture that decodes but
/// cannot be shrunk is kept without one.
pub fn render(picture: &Picture) -> Result<Option<Vec<u8>>, PictureError> {
    let (width, height) = picture.turned(fit_within(picture.width, picture.height, THUMBNAIL_SIDE));
    let scaled = match picture.kind {
        PictureKind::Jpeg => scaled_jpeg::decode(&picture.bytes, width, height),
        PictureKind::Png | PictureKind::Gif | PictureKind::Webp => None,
    };
    let decoded = match scaled {
        Some(decoded) => DynamicImage::ImageRgb8(decoded),
        None => whole(picture)?,
    };
    let Some(mut small) = shrunk(decoded, width, height) else { return Ok(None) };
    small.apply_orientation(picture.orientation);
    let small = if small.color().has_alpha() { over_white(&small) } else { small.into_rgb8() };
    Ok(scaled_jpeg::encode(&small))
}

fn whole(picture: &Picture) -> Result<DynamicImage, PictureError> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(&picture.bytes), picture.kind.format());
    reader.limits(limits);
    reader.decode().map_err(|error| refusal(picture.kind, &error))
}

/// Eight bits a channel are what the JPEG will have anyway.
fn shrunk(decoded: DynamicImage, width: u32, height: u32) -> Option<DynamicImage> {
    if decoded.color().has_alpha() {
        let rgba = decoded.into_rgba8();
        let pixels = resized::<U8x4>(rgba.dimensions(), rgba.as_raw(), width, height)?;
        RgbaImage::from_raw(width, height, pixels).map(DynamicImage::ImageRgba8)
    } else {
        let rgb = decoded.into_rgb8();
        if rgb.dimensions() == (width, height) {
            return Some(DynamicImage::ImageRgb8(rgb));
        }
        let pixels = resized::<U8x3>(rgb.dimensions(), rgb.as_raw(), width, height)?;
        RgbImage::from_raw(width, height, pixels).map(DynamicImage::ImageRgb8)
    }
}

/// With the processor's vector instructions, which `image`'s own resizing does not use. Asked by the type of pixel, as all
/// types that there are would be compiled otherwise.
fn resized<P: InnerPixel + PixelTrait>(size: (u32, u32), pixels: &[u8], width: u32, height: u32) -> Option<Vec<u8>> {
    let mut small = vec![0; width as usize * height as usize * P::size()];
    let from = TypedImageRef::<P>::from_buffer(size.0, size.1, pixels).ok()?;
    let mut to = TypedImage::<P>::from_buffer(width, height, &mut small).ok()?;
    // Each pixel of the small one is a mean of all that it stands for: no shimmer, and cheaper than sharper filters.
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Hamming));
    Resizer::new().resize_typed(&from, &mut to, &options).ok()?;
    Some(small)
}

/// JPEG has no transparency; white is what most pages put behind a picture.
fn over_white(small: &DynamicImage) -> RgbImage {
    let rgba = small.to_rgba8();
    RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [r, g, b, alpha] = rgba.get_pixel(x, y).0.map(u32::from);
        let blend = |channel: u32| ((channel * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        image::Rgb([blend(r), blend(g), blend(b)])
    })
}

fn refusal(kind: PictureKind, error: &image::ImageError) -> PictureError {
    match error {
        image::ImageError::Limits(_) => PictureError::TooMuchMemory,
        _ => PictureError::Damaged(name(kind)),
    }
}

fn name(kind: PictureKind) -> &'static str {
    match kind {
        PictureKind::Jpeg => "JPEG",
        PictureKind::Png => "PNG",
        PictureKind::Gif => "GIF",
        PictureKind::Webp => "WebP",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(kind: PictureKind, width: u32, height: u32) -> Vec<u8> {
        let picture =
            DynamicImage::ImageRgb8(image::RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 9])));
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, kind.format()).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn every_kind_passes_and_gets_a_thumbnail() {
        for kind in [PictureKind::Jpeg, PictureKind::Png, PictureKind::Gif, PictureKind::Webp] {
            let picture = inspect(encoded(kind, 640, 400)).unwrap();
            assert_eq!((picture.kind, picture.width, picture.height), (kind, 640, 400));
            let thumbnail = image::load_from_memory(&render(&picture).unwrap().unwrap()).unwrap();
            assert_eq!((thumbnail.width(), thumbnail.height()), (320, 200), "{kind:?}");
        }
    }

    #[test]
    fn a_thumbnail_looks_like_its_picture() {
        // Left dark, right light and half transparent: shown over white.
        let whole = image::RgbaImage::from_fn(1000, 500, |x, _| {
            if x < 500 { image::Rgba([10, 40, 80, 255]) } else { image::Rgba([0, 0, 0, 128]) }
        });
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::ImageRgba8(whole).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        let thumbnail = render(&inspect(bytes.into_inner()).unwrap()).unwrap().unwrap();
        let thumbnail = image::load_from_memory(&thumbnail).unwrap().into_rgb8();
        for (x, expected) in [(20, [10, 40, 80]), (140, [10, 40, 80]), (180, [127, 127, 127]), (300, [127, 127, 127])] {
            let shown = thumbnail.get_pixel(x, 80).0;
            let near = shown.iter().zip(expected).all(|(a, b): (&u8, u8)| a.abs_diff(b) <= 6);
            assert!(near, "at {x}: {shown:?} instead of {expected:?}");
        }
    }

    #[test]
    fn what_only_calls_itself_a_picture_is_refused() {
        for bytes in [b"<svg xmlns='http://www.w3.org/2000/svg'/>".as_slice(), b"%PDF-1.7", b"", b"hello", b"BM\0\0"] {
            assert_eq!(inspect(bytes.to_vec()).unwrap_err(), PictureError::NotAPicture);
        }
        assert_eq!(inspect(b"\xff\xd8\xff\xe0rubbish".to_vec()).unwrap_err(), PictureError::Damaged("JPEG"));
        assert_eq!(inspect(b"GIF89a".to_vec()).unwrap_err(), PictureError::Damaged("GIF"));
    }

    #[test]
    fn a_truncated_png_is_damaged() {
        let whole = encoded(PictureKind::Png, 300, 300);
        let refused = inspect(whole[..whole.len() / 2].to_vec()).and_then(|picture| render(&picture)).unwrap_err();
        assert_eq!(refused, PictureError::Damaged("PNG"));
    }

    #[test]
    fn a_small_file_that_claims_to_be_huge_is_refused_undecoded() {
        let mut png = encoded(PictureKind::Png, 1, 1);
        png[16..20].copy_from_slice(&100_000u32.to_be_bytes());
        png[20..24].copy_from_slice(&100_000u32.to_be_bytes());
        let crc = metadata::crc32(&png[12..29]).to_be_bytes();
        png[29..33].copy_from_slice(&crc);
        assert_eq!(inspect(png).unwrap_err(), PictureError::TooManyPixels { width: 100_000, height: 100_000 });
    }
}
