//! Output of the measurements: a table for people, a JSON object a line for programs.

use std::borrow::Cow;

use console::style;
use serde_json::{Value, json};

use super::{super::print, stats::median};

/// Direction in which a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Better {
    More,
    Less,
}

/// The figure's aim.
#[derive(Debug, Clone, Copy)]
enum Aim {
    /// A value in the figure's own unit.
    Own(f64),
    /// A share of the limit.
    Ratio(f64),
}

/// One figure: a value for each run, and the limit's beside it.
pub(super) struct Figure {
    scenario: &'static str,
    metric: Cow<'static, str>,
    unit: &'static str,
    better: Better,
    aim: Option<Aim>,
    ours: Vec<f64>,
    limits: Vec<f64>,
}

impl Figure {
    fn new(scenario: &'static str, metric: Cow<'static, str>, unit: &'static str, better: Better) -> Self {
        Self { scenario, metric, unit, better, aim: None, ours: Vec::new(), limits: Vec::new() }
    }

    /// A figure for which more is better.
    pub(super) fn more(
        scenario: &'static str,
        metric: impl Into<Cow<'static, str>>,
        unit: &'static str,
    ) -> Self {
        Self::new(scenario, metric.into(), unit, Better::More)
    }

    /// A figure for which less is better.
    pub(super) fn less(
        scenario: &'static str,
        metric: impl Into<Cow<'static, str>>,
        unit: &'static str,
    ) -> Self {
        Self::new(scenario, metric.into(), unit, Better::Less)
    }

    pub(super) fn ours(mut self, values: Vec<f64>) -> Self {
        self.ours = values;
        self
    }

    /// Sets the machine's own values, in the same unit, run by run.
    pub(super) fn limit(mut self, values: Vec<f64>) -> Self {
        self.limits = values;
        self
    }

    /// Sets the value that it should reach.
    pub(super) fn aim(mut self, value: f64) -> Self {
        self.aim = Some(Aim::Own(value));
        self
    }

    /// Sets the share of the limit that it should reach.
    pub(super) fn aim_ratio(mut self, share: f64) -> Self {
        self.aim = Some(Aim::Ratio(share));
        self
    }

    fn value(&self) -> f64 {
        median(&self.ours).unwrap_or_default()
    }

    /// The share of the limit that was reached: 1 is as fast as the machine. Runs are compared pair by pair, since the
    /// machine may be faster in one minute than in the next.
    fn ratio(&self) -> Option<f64> {
        let share = |ours: f64, limit: f64| match self.better {
            Better::More => ours / limit,
            Better::Less => limit / ours,
        };
        let shares: Vec<f64> = if self.ours.len() == self.limits.len() {
            self.ours.iter().zip(&self.limits).map(|(ours, limit)| share(*ours, *limit)).collect()
        } else {
            vec![share(self.value(), median(&self.limits)?)]
        };
        median(&shares).filter(|share| share.is_finite())
    }

    fn met(&self) -> Option<bool> {
        Some(match (self.aim?, self.better) {
            (Aim::Own(aim), Better::More) => self.value() >= aim,
            (Aim::Own(aim), Better::Less) => self.value() <= aim,
            (Aim::Ratio(aim), _) => self.ratio()? >= aim,
        })
    }

    fn spread(&self) -> (f64, f64) {
        let least = self.ours.iter().copied().min_by(f64::total_cmp).unwrap_or_default();
        let most = self.ours.iter().copied().max_by(f64::total_cmp).unwrap_or_default();
        (least, most)
    }

    fn json(&self) -> Value {
        let (least, most) = self.spread();
        json!({
            "scenario": self.scenario,
            "metric": self.metric,
            "value": short(self.value()),
            "unit": self.unit,
            "limit": median(&self.limits).map(short),
            "ratio": self.ratio().map(short),
            "spread": [short(least), short(most)],
        })
    }

    fn line(&self) -> String {
        let limit = median(&self.limits).map_or_else(String::new, number);
        let ratio = self.ratio().map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        let spread = match self.spread() {
            (least, most) if self.ours.len() > 1 => format!("{} to {}", number(least), number(most)),
            _ => String::new(),
        };
        let sign = if self.better == Better::More { '≥' } else { '≤' };
        let aim = match self.aim {
            None => String::new(),
            Some(Aim::Own(aim)) => format!("{sign} {}", number(aim)),
            Some(Aim::Ratio(aim)) => format!("ratio ≥ {aim}"),
        };
        let aim = match self.met() {
            None => style(aim),
            Some(true) => style(format!("{aim} ✓")).green(),
            Some(false) => style(format!("{aim} ✗")).red(),
        };
        let value = format!("{:>12}", number(self.value()));
        columns(
            self.scenario,
            &self.metric,
            &style(value).bold().to_string(),
            self.unit,
            &limit,
            &ratio,
            &spread,
            &aim.to_string(),
        )
    }
}

#[expect(clippy::too_many_arguments, reason = "the columns of one table")]
fn columns(
    scenario: &str,
    metric: &str,
    value: &str,
    unit: &str,
    limit: &str,
    ratio: &str,
    spread: &str,
    aim: &str,
) -> String {
    let line = format!("{scenario:<9}{metric:<24}{value} {unit:<5}{limit:>12}{ratio:>7}   {spread:<24}{aim}");
    line.trim_end().to_owned()
}

/// Rounds to four significant digits: more would be noise.
fn short(value: f64) -> Value {
    format!("{value:.3e}").parse::<f64>().map_or(Value::Null, |value| {
        // Whole numbers without a point.
        let whole = format!("{value:.0}").parse::<i64>().ok().filter(|_| value.fract() == 0.0);
        whole.map_or_else(|| json!(value), |whole| json!(whole))
    })
}

/// A number for people: 12,345 or 12.3 or 0.123.
fn number(value: f64) -> String {
    if value < 1.0 && value > 0.0 {
        return format!("{value:.3}");
    }
    if value < 100.0 {
        let text = format!("{value:.1}");
        return text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned);
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Destination of figures, as soon as they are measured.
pub(super) struct Report {
    json: bool,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(super) fn head(&self) {
        if !self.json {
            let value = format!("{:>12}", "Kassa");
            print::line(style(columns("", "", &value, "", "limit", "ratio", "spread", "aim")).dim());
        }
    }

    /// Prints the reason that a figure is missing.
    pub(super) fn missing(&self, scenario: &str, metric: &str, why: &str) {
        if self.json {
            let line = json!({ "scenario": scenario, "metric": metric, "value": null, "why": why });
            print::line(line);
        } else {
            print::line(format!("{scenario:<9}{metric:<24}not measured: {why}"));
        }
    }

    pub(super) fn figure(&self, figure: &Figure) {
        if self.json {
            print::line(figure.json());
        } else {
            print::line(figure.line());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_json_has_all_there_is_to_a_figure() {
        let figure =
            Figure::less("call", "p50", "us").ours(vec![10.0, 12.0, 11.0]).limit(vec![8.0, 9.0, 8.8]);
        let expected = json!({
            "scenario": "call", "metric": "p50", "value": 11, "unit": "us", "limit": 8.8, "ratio": 0.8, "spread": [10, 12],
        });
        assert_eq!(figure.json(), expected);
        let alone = Figure::more("settle", "credited", "1/s").ours(vec![12_345.6]);
        assert_eq!(alone.json()["value"], json!(12_350));
        assert_eq!(alone.json()["limit"], Value::Null);
        assert_eq!(alone.json()["ratio"], Value::Null);
    }

    #[test]
    fn an_aim_is_met_from_the_right_side() {
        let figure = || Figure::less("call", "p50", "us").ours(vec![20.0]).limit(vec![15.0]);
        assert_eq!(figure().met(), None);
        assert_eq!(figure().aim(20.0).met(), Some(true));
        assert_eq!(figure().aim(19.0).met(), Some(false));
        assert_eq!(figure().aim_ratio(0.7).met(), Some(true));
        assert_eq!(Figure::more("a", "b", "1/s").ours(vec![5.0]).aim(6.0).met(), Some(false));
        assert_eq!(Figure::less("swap", "failed", "").ours(vec![0.0]).aim(0.0).met(), Some(true));
    }

    #[test]
    fn numbers_are_readable() {
        for (value, text) in [
            (0.0, "0"),
            (0.1234, "0.123"),
            (7.0, "7"),
            (12.34, "12.3"),
            (999.6, "1,000"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
