//! Medians with their spread, and Markdown tables of them.

use std::fmt::Write as _;

/// One figure from several runs.
#[derive(Clone, Debug, Default)]
pub struct Figure(Vec<f64>);

impl Figure {
    /// Adds a run's.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    /// The same in another unit: each run's times `factor`.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        Self(self.0.iter().map(|value| value * factor).collect())
    }

    /// The middle one.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The value that `share` of the runs do not exceed.
    fn quantile(&self, share: f64) -> f64 {
        let Some(last) = self.0.len().checked_sub(1) else { return f64::NAN };
        let position = share * last as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index, not negative")]
        let below = position.floor() as usize;
        let above = (below + 1).min(last);
        self.0[below] + (self.0[above] - self.0[below]) * position.fract()
    }

    /// `median (lower quartile - upper quartile)`, with `decimals`.
    #[must_use]
    pub fn text(&self, decimals: usize) -> String {
        if self.0.is_empty() {
            return "n/a".to_owned();
        }
        let [low, middle, high] = [0.25, 0.5, 0.75].map(|share| rounded(self.quantile(share), decimals));
        format!("{middle} ({low} - {high})")
    }
}

/// A table that is printed, and written into a page.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these headings.
    #[must_use]
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|&heading| heading.to_owned()).collect()] }
    }

    /// Adds a row.
    pub fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// As Markdown: the first column is words, the others are numbers.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            let _ = writeln!(text, "| {} |", row.join(" | "));
            if number == 0 {
                let _ = writeln!(text, "|---|{}", "---:|".repeat(row.len().saturating_sub(1)));
            }
        }
        text
    }
}

/// `value` with a space between thousands.
#[must_use]
pub fn rounded(value: f64, decimals: usize) -> String {
    let plain = format!("{value:.decimals$}");
    let (whole, fraction) =
        plain.split_once('.').map_or((plain.as_str(), None), |(whole, f)| (whole, Some(f)));
    let mut text = String::new();
    for (position, digit) in whole.chars().enumerate() {
        let following = whole.len() - position;
        if position > 0 && following % 3 == 0 && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    fraction.map_or(text.clone(), |fraction| format!("{text}.{fraction}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_its_median_between_its_quartiles() {
        let mut figure = Figure::default();
        for value in [5.0, 1.0, 4.0, 2.0, 3.0] {
            figure.push(value);
        }
        assert_eq!(figure.text(1), "3.0 (2.0 - 4.0)");
        figure.push(100.0);
        assert_eq!(figure.text(2), "3.50 (2.25 - 4.75)");
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(
            [rounded(1234567.25, 1), rounded(-999.0, 0), rounded(-1999.0, 0)],
            ["1,234,567.2", "-999", "-1,999"]
        );
    }
}
