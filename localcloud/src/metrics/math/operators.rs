//! Operators on numbers and series. Two series meet where both have a value.

use super::{
    parser::Operator,
    value::{Line, Value},
};

pub(super) fn apply(operator: Operator, left: Value, right: Value) -> Result<Value, String> {
    let compute = |left: f64, right: f64| compute(operator, left, right);
    Ok(match (left, right) {
        (Value::Number(left), Value::Number(right)) => Value::Number(compute(left, right)),
        (Value::Number(left), Value::Line(right)) => Value::Line(right.map(|right| compute(left, right))),
        (Value::Line(left), Value::Number(right)) => Value::Line(left.map(|left| compute(left, right))),
        (Value::Line(left), Value::Line(right)) => Value::Line(meet(left, &right, compute)),
        (Value::Number(left), Value::Lines(lines)) => {
            Value::Lines(lines.into_iter().map(|right| right.map(|right| compute(left, right))).collect())
        }
        (Value::Lines(lines), Value::Number(right)) => {
            Value::Lines(lines.into_iter().map(|left| left.map(|left| compute(left, right))).collect())
        }
        (Value::Line(left), Value::Lines(lines)) => Value::Lines(
            lines.into_iter().map(|right| meet(right, &left, |right, left| compute(left, right))).collect(),
        ),
        (Value::Lines(lines), Value::Line(right)) => {
            Value::Lines(lines.into_iter().map(|left| meet(left, &right, compute)).collect())
        }
        (left, right) => {
            return Err(format!("an operator cannot join {} and {}", left.kind(), right.kind()));
        }
    })
}

/// The same for each value.
pub(super) fn each(value: Value, name: &str, change: impl Fn(f64) -> f64 + Copy) -> Result<Value, String> {
    Ok(match value {
        Value::Number(number) => Value::Number(change(number)),
        Value::Line(line) => Value::Line(line.map(change)),
        Value::Lines(lines) => Value::Lines(lines.into_iter().map(|line| line.map(change)).collect()),
        Value::Text(_) => return Err(format!("{name} does not take a text")),
    })
}

/// A line of the left one's label, at the times that both have.
fn meet(left: Line, right: &Line, compute: impl Fn(f64, f64) -> f64) -> Line {
    let mut others = right.points.iter().peekable();
    let mut points = Vec::with_capacity(left.points.len().min(right.points.len()));
    for (time, value) in &left.points {
        while others.next_if(|(other, _)| other < time).is_some() {}
        if let Some((_, other)) = others.next_if(|(other, _)| other == time) {
            points.push((*time, compute(*value, *other)));
        }
    }
    let period_secs = left.period_secs.max(right.period_secs);
    Line { period_secs, ..left }.with(points)
}

#[expect(clippy::float_cmp, reason = "`==` of metric math is exact")]
fn compute(operator: Operator, left: f64, right: f64) -> f64 {
    // What an aggregate of no data comes to: whatever is made of it is no data either.
    if left.is_nan() || right.is_nan() {
        return f64::NAN;
    }
    match operator {
        Operator::Or => truth(left != 0.0 || right != 0.0),
        Operator::And => truth(left != 0.0 && right != 0.0),
        Operator::Less => truth(left < right),
        Operator::LessOrEqual => truth(left <= right),
        Operator::Greater => truth(left > right),
        Operator::GreaterOrEqual => truth(left >= right),
        Operator::Equal => truth(left == right),
        Operator::NotEqual => truth(left != right),
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        Operator::Divide => left / right,
        Operator::Power => left.powf(right),
    }
}

fn truth(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}
