//! What a part of an expression comes to.

use crate::model::time::Timestamp;

/// `S`, `TS`, `TS[]` and texts, as the documentation calls them.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Number(f64),
    Line(Line),
    Lines(Vec<Line>),
    Text(String),
}

/// One series, oldest point first.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    pub label: String,
    pub period_secs: u32,
    pub points: Vec<(Timestamp, f64)>,
}

impl Line {
    pub(super) fn empty(period_secs: u32) -> Self {
        Self { label: String::new(), period_secs, points: Vec::new() }
    }

    /// The same value in every period.
    pub(super) fn level(value: f64, span: Span, period_secs: u32) -> Self {
        Self::empty(period_secs).with(span.periods(period_secs).into_iter().map(|time| (time, value)).collect())
    }

    /// The same line with other values. What is no number, as after a division by zero, is a missing point.
    pub(super) fn with(self, points: Vec<(Timestamp, f64)>) -> Self {
        let points = points.into_iter().filter(|(_, value)| value.is_finite()).collect();
        Self { points, ..self }
    }

    pub(super) fn map(self, change: impl Fn(f64) -> f64) -> Self {
        let points = self.points.iter().map(|(time, value)| (*time, change(*value))).collect();
        self.with(points)
    }

    pub(super) fn at(&self, time: Timestamp) -> Option<f64> {
        let index = self.points.binary_search_by_key(&time, |(time, _)| *time).ok()?;
        Some(self.points[index].1)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.points.iter().map(|(_, value)| *value)
    }
}

impl Value {
    /// As a list of series, for a function or bracket that takes such.
    pub(super) fn into_lines(self, function: &str) -> Result<Vec<Line>, String> {
        match self {
            Self::Line(line) => Ok(vec![line]),
            Self::Lines(lines) => Ok(lines),
            other => Err(format!("{function} takes time series, not {}", other.kind())),
        }
    }

    pub(super) fn points(&self) -> usize {
        match self {
            Self::Number(_) | Self::Text(_) => 0,
            Self::Line(line) => line.points.len(),
            Self::Lines(lines) => lines.iter().map(|line| line.points.len()).sum(),
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Number(_) => "a number",
            Self::Line(_) => "a time series",
            Self::Lines(_) => "an array of time series",
            Self::Text(_) => "a text",
        }
    }
}

/// From when to when, and from where periods are counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub start: Timestamp,
    pub end: Timestamp,
    pub origin: Timestamp,
}

impl Span {
    /// The begin of the first period.
    pub(super) fn first(self, period_secs: u32) -> Timestamp {
        let offset = Timestamp::from_millis(self.start.millis().saturating_sub(self.origin.millis()));
        Timestamp::from_millis(offset.floor_to(period_secs).millis().saturating_add(self.origin.millis()))
    }

    /// The begin of each period.
    pub(super) fn periods(self, period_secs: u32) -> Vec<Timestamp> {
        let step = i64::from(period_secs.max(1));
        std::iter::successors(Some(self.first(period_secs)), |time| Some(time.plus_secs(step)))
            .take_while(|time| *time < self.end)
            .collect()
    }
}
