//! What a figure was lately.

use std::collections::VecDeque;

/// How many values are kept: more than a terminal is wide.
const KEPT: usize = 512;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The latest values of one figure.
#[derive(Debug, Clone, Default)]
pub(super) struct Trend {
    values: VecDeque<f64>,
}

impl Trend {
    pub(super) fn push(&mut self, value: f64) {
        if self.values.len() == KEPT {
            self.values.pop_front();
        }
        self.values.push_back(value);
    }

    /// The latest `width` values as bars, the last one at the right. `full` is the value of a full bar; without it,
    /// that is the largest one shown.
    pub(super) fn bars(&self, width: usize, full: Option<f64>) -> String {
        let shown = self.values.len().min(width);
        let values = || self.values.iter().skip(self.values.len() - shown);
        let full = full.unwrap_or_else(|| values().copied().fold(0.0, f64::max));
        let bar = |value: &f64| {
            let eighths = if full > 0.0 {
                (value / full * 8.0).ceil()
            } else {
                0.0
            };
            // Nothing has the lowest bar too, so that it is seen from when on there are values.
            // A process may tell what is no number: that is cast to 0.
            BARS[(eighths as usize).clamp(1, 8) - 1]
        };
        let bars: String = values().map(bar).collect();
        format!("{bars:>width$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_scaled_and_the_last_is_at_the_right() {
        let mut trend = Trend::default();
        assert_eq!(trend.bars(3, None), "   ");
        for value in [0.0, 1.0, 2.0, 4.0] {
            trend.push(value);
        }
        assert_eq!(trend.bars(6, None), "  ▁▂▄█");
        assert_eq!(trend.bars(2, Some(8.0)), "▂▄");
        for _ in 0..2 * KEPT {
            trend.push(0.0);
        }
        assert_eq!(trend.values.len(), KEPT);
        assert_eq!(trend.bars(2, None), "▁▁");
        trend.push(f64::INFINITY);
        trend.push(f64::NAN);
        assert_eq!(trend.bars(3, None), "▁▁▁");
    }
}
