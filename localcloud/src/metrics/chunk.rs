//! Samples of one series, packed: a steady metric takes three bytes a sample, a busy one about ten. Times are written as
//! changes of their distance, numbers as the bytes in which they differ from the one before.

use super::StatisticSet;

/// What a chunk holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    /// Milliseconds since the epoch.
    pub time: i64,
    pub values: StatisticSet,
}

/// Grows at its end.
#[derive(Debug, Clone, Default)]
pub(super) struct Chunk {
    bytes: Vec<u8>,
    state: State,
}

/// What the next point is written relative to.
#[derive(Debug, Clone, Default)]
struct State {
    time: i64,
    distance: i64,
    bits: u64,
}

/// One value, measured once.
const SINGLE: u8 = 0;
/// One value, measured several times.
const REPEATED: u8 = 1;
/// Count, sum, minimum, maximum, and the values.
const FULL: u8 = 2;

impl Chunk {
    pub(super) fn of(points: &[Point]) -> Self {
        let mut chunk = Self::default();
        for point in points {
            chunk.push(point.time, &point.values);
        }
        chunk
    }

    pub(super) fn push(&mut self, time: i64, set: &StatisticSet) {
        let distance = time.wrapping_sub(self.state.time);
        let change = distance.wrapping_sub(self.state.distance);
        let bytes = &mut self.bytes;
        match set.values.as_slice() {
            [(value, count)] if is_exactly(set, *value, *count) => {
                bytes.push(if *count == 1.0 { SINGLE } else { REPEATED });
                write_signed(bytes, change);
                self.state.write(bytes, *value);
                if *count != 1.0 {
                    write_count(bytes, *count);
                }
            }
            values => {
                bytes.push(FULL);
                write_signed(bytes, change);
                write_count(bytes, set.count);
                for number in [set.sum, set.minimum, set.maximum] {
                    self.state.write(bytes, number);
                }
                write_unsigned(bytes, values.len() as u64);
                for (value, count) in values {
                    self.state.write(bytes, *value);
                    write_count(bytes, *count);
                }
            }
        }
        self.state.time = time;
        self.state.distance = distance;
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn points(&self) -> Points<'_> {
        points(&self.bytes)
    }
}

#[expect(clippy::float_cmp, reason = "what is not the same bits is written in full")]
fn is_exactly(set: &StatisticSet, value: f64, count: f64) -> bool {
    set.count == count && set.sum == value * count && set.minimum == value && set.maximum == value
}

/// Reads packed points in the order in which they were written. Ends early at what is no point.
pub(super) fn points(bytes: &[u8]) -> Points<'_> {
    Points { bytes, state: State::default() }
}

pub(super) struct Points<'a> {
    bytes: &'a [u8],
    state: State,
}

impl Iterator for Points<'_> {
    type Item = Point;

    fn next(&mut self) -> Option<Point> {
        let kind = self.byte()?;
        let distance = self.state.distance.wrapping_add(read_signed(&mut self.bytes)?);
        let time = self.state.time.wrapping_add(distance);
        let values = match kind {
            SINGLE | REPEATED => {
                let value = self.state.read(&mut self.bytes)?;
                let count = if kind == SINGLE { 1.0 } else { read_count(&mut self.bytes)? };
                let values = vec![(value, count)];
                StatisticSet { count, sum: value * count, minimum: value, maximum: value, values }
            }
            FULL => {
                let count = read_count(&mut self.bytes)?;
                let sum = self.state.read(&mut self.bytes)?;
                let minimum = self.state.read(&mut self.bytes)?;
                let maximum = self.state.read(&mut self.bytes)?;
                let length = read_unsigned(&mut self.bytes)?;
                let mut values = Vec::new();
                for _ in 0..length {
                    values.push((self.state.read(&mut self.bytes)?, read_count(&mut self.bytes)?));
                }
                StatisticSet { count, sum, minimum, maximum, values }
            }
            _ => return None,
        };
        self.state.time = time;
        self.state.distance = distance;
        Some(Point { time, values })
    }
}

impl Points<'_> {
    fn byte(&mut self) -> Option<u8> {
        take(&mut self.bytes)
    }
}

impl State {
    /// One byte says how many leading bytes are the same and how many follow; the rest are zeros.
    fn write(&mut self, bytes: &mut Vec<u8>, number: f64) {
        let bits = number.to_bits();
        let difference = bits ^ self.bits;
        self.bits = bits;
        if difference == 0 {
            bytes.push(0);
            return;
        }
        let (leading, trailing) = (difference.leading_zeros() / 8, difference.trailing_zeros() / 8);
        let length = 8 - leading - trailing;
        let (leading, length) = (leading as usize, length as usize);
        #[expect(clippy::cast_possible_truncation, reason = "both are at most 8")]
        bytes.push((leading << 4 | length) as u8);
        bytes.extend_from_slice(&difference.to_be_bytes()[leading..leading + length]);
    }

    fn read(&mut self, bytes: &mut &[u8]) -> Option<f64> {
        let head = take(bytes)?;
        if head != 0 {
            let (leading, length) = (usize::from(head >> 4), usize::from(head & 0xf));
            let mut difference = [0; 8];
            let (written, rest) = bytes.split_at_checked(length)?;
            difference.get_mut(leading..leading + length)?.copy_from_slice(written);
            *bytes = rest;
            self.bits ^= u64::from_be_bytes(difference);
        }
        Some(f64::from_bits(self.bits))
    }
}

fn take(bytes: &mut &[u8]) -> Option<u8> {
    let (first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*first)
}

pub(super) fn write_unsigned(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

pub(super) fn read_unsigned(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn write_signed(bytes: &mut Vec<u8>, number: i64) {
    write_unsigned(bytes, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

fn read_signed(bytes: &mut &[u8]) -> Option<i64> {
    let number = read_unsigned(bytes)?;
    Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

/// Counts are mostly small whole numbers; a client may put others.
fn write_count(bytes: &mut Vec<u8>, count: f64) {
    if count.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&count) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number of 32 bits")]
        write_unsigned(bytes, (count as u64) << 1);
    } else {
        write_unsigned(bytes, 1);
        bytes.extend_from_slice(&count.to_be_bytes());
    }
}

fn read_count(bytes: &mut &[u8]) -> Option<f64> {
    let number = read_unsigned(bytes)?;
    if number & 1 == 0 {
        #[expect(clippy::cast_precision_loss, reason = "it was written from 32 bits")]
        return Some((number >> 1) as f64);
    }
    let (written, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    Some(f64::from_be_bytes(*written))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(time: i64, values: StatisticSet) -> Point {
        Point { time, values }
    }

    #[test]
    fn what_was_packed_is_read_again() {
        let odd = StatisticSet { count: 2.5, sum: -7.0, minimum: -4.0, maximum: 1e300, values: Vec::new() };
        let points = [
            point(1_800_000_000_000, StatisticSet::of(0.1)),
            point(1_800_000_010_000, StatisticSet::of(0.1)),
            point(1_800_000_009_000, StatisticSet::of(-3.0)),
            point(1_800_000_020_000, StatisticSet::of_all([(5.0, 7.0)]).expect("a value")),
            point(1_800_000_030_000, StatisticSet::of_all([(5.0, 0.5), (1e-9, 3.0)]).expect("values")),
            point(-5, odd),
            point(i64::MAX, StatisticSet::of(f64::MIN_POSITIVE)),
        ];
        let chunk = Chunk::of(&points);
        assert_eq!(chunk.points().collect::<Vec<_>>(), points);
    }

    #[test]
    fn a_steady_series_takes_three_bytes_a_sample_and_a_busy_one_ten() {
        let packed = |value: &dyn Fn(i64) -> f64| {
            let points: Vec<_> = (0..360).map(|step| point(step * 10_000, StatisticSet::of(value(step)))).collect();
            Chunk::of(&points).bytes().len() / 360
        };
        assert_eq!(packed(&|_| 0.25), 3);
        assert!(packed(&|step| f64::from(i32::try_from(step * 7919 % 1000).expect("small")) / 7.0) <= 10);
    }

    #[test]
    fn whatever_the_bytes_are_reading_ends() {
        let mut bytes: Vec<u8> = Chunk::of(&[point(1, StatisticSet::of(1.5)), point(2, StatisticSet::of(2.5))]).bytes;
        for length in 0..bytes.len() {
            assert!(points(&bytes[..length]).count() < 2);
        }
        for (index, noise) in (0_u8..=255).cycle().take(4096).enumerate() {
            let place = index % bytes.len();
            bytes[place] = noise.wrapping_mul(31);
            assert!(points(&bytes).count() <= bytes.len());
        }
    }
}
