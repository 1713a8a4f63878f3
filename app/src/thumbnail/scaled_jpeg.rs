//! Decoding a large JPEG at a half, a quarter or an eighth of its size: the inverse transform then makes only the pixels that
//! the thumbnail needs, which saves most of the time and nearly all of the memory.

use image::{DynamicImage, GrayImage, RgbImage};
use jpeg_decoder::{Decoder, PixelFormat};

use super::MAX_DECODED_BYTES;

/// The picture, at least as large as asked; none where that is no use, and where this decoder cannot: the usual one decides
/// then whether the picture is damaged.
pub(super) fn decode(bytes: &[u8], width: u32, height: u32) -> Option<DynamicImage> {
    let mut decoder = Decoder::new(bytes);
    decoder.set_max_decoding_buffer_size(MAX_DECODED_BYTES as usize);
    decoder.read_info().ok()?;
    // Once it scales, it tells the scaled size only.
    let whole = decoder.info()?;
    let (scaled_width, scaled_height) = decoder.scale(u16::try_from(width).ok()?, u16::try_from(height).ok()?).ok()?;
    let (scaled_width, scaled_height) = (u32::from(scaled_width), u32::from(scaled_height));
    // At its full size the other decoder is quicker. And this one looks at one side only: of a long strip little would be left.
    if scaled_width * 2 > u32::from(whole.width) + 1 || scaled_width + 1 < width || scaled_height + 1 < height {
        return None;
    }
    let pixels = decoder.decode().ok()?;
    match whole.pixel_format {
        PixelFormat::RGB24 => RgbImage::from_raw(scaled_width, scaled_height, pixels).map(DynamicImage::ImageRgb8),
        PixelFormat::L8 => GrayImage::from_raw(scaled_width, scaled_height, pixels).map(DynamicImage::ImageLuma8),
        // The colours of four inks are not ours to guess.
        PixelFormat::L16 | PixelFormat::CMYK32 => None,
    }
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
    fn a_large_picture_is_decoded_no_larger_than_needed_and_looks_the_same() {
        for (side, scaled) in [(640, 320), (1000, 500), (1400, 350), (4001, 501)] {
            let small = decode(&jpeg(side, side), 320, 320).unwrap().into_rgb8();
            assert_eq!((small.width(), small.height()), (scaled, scaled), "of {side}");
            for (x, y) in [(10, 10), (scaled / 2, scaled / 3), (scaled - 10, scaled - 10)] {
                let expected = [(x * 255 / scaled) as u8, (y * 255 / scaled) as u8, 60];
                let near = small.get_pixel(x, y).0.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 8);
                assert!(near, "of {side} at {x}, {y}: {:?} instead of {expected:?}", small.get_pixel(x, y));
            }
        }
    }

    #[test]
    fn what_is_small_or_damaged_is_left_to_the_usual_decoder() {
        assert!(decode(&jpeg(600, 600), 320, 320).is_none());
        assert!(decode(&jpeg(1000, 3), 320, 1).is_none(), "a strip");
        assert!(decode(&jpeg(2000, 2000)[..300], 320, 320).is_none());
        assert!(decode(b"\xff\xd8\xff\xe0rubbish", 320, 320).is_none());
    }
}
