//! JPEG by libjpeg-turbo, which has vector instructions, and decodes at eighths of a picture's size: the inverse transform then
//! makes only the pixels that the thumbnail needs, which saves most of the time and nearly all of the memory.

use image::RgbImage;
use turbojpeg::{Colorspace, Compressor, Decompressor, Image, PixelFormat, ScalingFactor, Subsamp};

/// Of a picture that tells its details little by little. Cameras and programs make about ten; each costs a walk over all of it.
const MAX_SCANS: u32 = 100;
/// The quality of thumbnails.
const QUALITY: i32 = 75;
const RGB: usize = 3;

/// The picture, at least as large as asked; none where this decoder sees anything strange: the usual one decides then whether
/// the picture is damaged.
pub(super) fn decode(bytes: &[u8], width: u32, height: u32) -> Option<RgbImage> {
    let mut decompressor = Decompressor::new().ok()?;
    decompressor.set_scan_limit(MAX_SCANS).ok()?;
    let whole = decompressor.read_header(bytes).ok()?;
    // The colours of four inks are not ours to guess, and what browsers do not show is no picture for the web.
    if !matches!(whole.colorspace, Colorspace::Gray | Colorspace::YCbCr | Colorspace::RGB)
        || whole.is_lossless
        || whole.is_arithmetic
    {
        return None;
    }
    let scaled = |eighths| {
        let factor = ScalingFactor::new(eighths, 8);
        (factor.scale(whole.width), factor.scale(whole.height))
    };
    let enough = |eighths: &usize| scaled(*eighths).0 >= width as usize && scaled(*eighths).1 >= height as usize;
    let eighths = (1..=8).find(enough)?;
    decompressor.set_scaling_factor(ScalingFactor::new(eighths, 8)).ok()?;
    let (width, height) = scaled(eighths);
    let mut pixels = vec![0; width * height * RGB];
    let image = Image { pixels: pixels.as_mut_slice(), width, pitch: width * RGB, height, format: PixelFormat::RGB };
    decompressor.decompress(bytes, image).ok()?;
    RgbImage::from_raw(u32::try_from(width).ok()?, u32::try_from(height).ok()?, pixels)
}

pub(super) fn encode(small: &RgbImage) -> Option<Vec<u8>> {
    let (width, height) = (small.width() as usize, small.height() as usize);
    let mut compressor = Compressor::new().ok()?;
    compressor.set_quality(QUALITY).ok()?;
    compressor.set_subsamp(Subsamp::Sub2x2).ok()?;
    let pixels = small.as_raw().as_slice();
    compressor.compress_to_vec(Image { pixels, width, pitch: width * RGB, height, format: PixelFormat::RGB }).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn jpeg(width: u32, height: u32) -> Vec<u8> {
        let whole = RgbImage::from_fn(width, height, |x, y| {
            image::Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 60])
        });
        let mut bytes = Cursor::new(Vec::new());
        whole.write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn a_picture_is_decoded_no_larger_than_needed_and_looks_the_same() {
        for (side, scaled) in [(320, 320), (512, 320), (600, 375), (640, 320), (1000, 375), (1400, 350), (4001, 501)] {
            let small = decode(&jpeg(side, side), 320, 320).unwrap();
            assert_eq!((small.width(), small.height()), (scaled, scaled), "of {side}");
            for (x, y) in [(10, 10), (scaled / 2, scaled / 3), (scaled - 10, scaled - 10)] {
                let expected = [(x * 255 / scaled) as u8, (y * 255 / scaled) as u8, 60];
                let near = small.get_pixel(x, y).0.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 8);
                assert!(near, "of {side} at {x}, {y}: {:?} instead of {expected:?}", small.get_pixel(x, y));
            }
        }
        let strip = decode(&jpeg(1000, 3), 320, 1).unwrap();
        assert!(strip.width() >= 320 && strip.height() >= 1);
    }

    #[test]
    fn what_is_damaged_or_tells_too_little_at_a_time_is_left_to_the_usual_decoder() {
        assert!(decode(&jpeg(2000, 2000)[..300], 320, 320).is_none());
        let whole = jpeg(2000, 2000);
        assert!(decode(&whole[..whole.len() / 2], 320, 320).is_none());
        assert!(decode(b"\xff\xd8\xff\xe0rubbish", 320, 320).is_none());
        let pixels: Vec<u8> = jpeg_pixels();
        let mut compressor = Compressor::new().unwrap();
        compressor.set_progressive(true).unwrap();
        let image =
            Image { pixels: pixels.as_slice(), width: 64, pitch: 64 * RGB, height: 64, format: PixelFormat::RGB };
        let mut bytes = compressor.compress_to_vec(image).unwrap();
        assert!(decode(&bytes, 64, 64).is_some(), "some ten scans");
        // The last scan again and again.
        let end = bytes.len() - 2;
        let last = (0..end).rev().find(|at| bytes[*at..].starts_with(&[0xFF, 0xDA])).unwrap();
        let scan = bytes[last..end].to_vec();
        for _ in 0..MAX_SCANS {
            bytes.splice(end..end, scan.iter().copied());
        }
        assert!(decode(&bytes, 64, 64).is_none());
    }

    fn jpeg_pixels() -> Vec<u8> {
        (0..64 * 64 * RGB).map(|at| (at * 7 % 251) as u8).collect()
    }
}
