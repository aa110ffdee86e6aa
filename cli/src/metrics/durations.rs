//! How long calls took, as a histogram or as quantiles.

use super::exposition::Sample;
use super::growth;

/// The durations of one call. A process tells buckets or quantiles, as its recorder was set up.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Durations {
    /// By their upper bounds in seconds: how many calls took at most that.
    buckets: Vec<(f64, f64)>,
    /// By the quantile: its seconds, the longest of all series.
    quantiles: Vec<(f64, f64)>,
}

impl Durations {
    pub(super) fn add(&mut self, sample: &Sample) {
        let number = |label| sample.label(label).and_then(|number| number.parse::<f64>().ok());
        if let Some(bound) = number("le") {
            *at(&mut self.buckets, bound) += sample.value;
        } else if let Some(quantile) = number("quantile") {
            let longest = at(&mut self.quantiles, quantile);
            // NaN stands for none.
            *longest = longest.max(sample.value);
        }
    }

    pub(super) fn since(&self, earlier: &Self) -> Self {
        let before = |bound: f64| earlier.buckets.iter().find(|(other, _)| *other == bound);
        let grown = |(bound, count): &(f64, f64)| {
            let before = before(*bound).map_or(0.0, |(_, count)| *count);
            (*bound, growth(*count, before))
        };
        Self {
            buckets: self.buckets.iter().map(grown).collect(),
            quantiles: self.quantiles.clone(),
        }
    }

    /// The seconds within which so large a part of the calls ended. Within a bucket, durations count as spread evenly.
    pub(crate) fn quantile(&self, quantile: f64) -> Option<f64> {
        let Some((_, all)) = self.buckets.last() else {
            let mut known = self.quantiles.iter();
            return known
                .find_map(|(other, seconds)| (*other == quantile && *seconds > 0.0).then_some(*seconds));
        };
        let rank = quantile * all;
        let (mut lower, mut below) = (0.0, 0.0);
        for (bound, count) in &self.buckets {
            if *count >= rank && *count > below {
                let part = (rank - below) / (count - below);
                let is_last = bound.is_infinite();
                return Some(if is_last {
                    lower
                } else {
                    lower + part * (bound - lower)
                });
            }
            (lower, below) = (*bound, *count);
        }
        None
    }
}

/// What a sorted list has at this place.
fn at(list: &mut Vec<(f64, f64)>, place: f64) -> &mut f64 {
    let index = match list.binary_search_by(|(other, _)| other.total_cmp(&place)) {
        Ok(index) => index,
        Err(index) => {
            list.insert(index, (place, 0.0));
            index
        }
    };
    &mut list[index].1
}

#[cfg(test)]
mod tests {
    use super::super::exposition::samples;
    use super::*;

    fn durations(text: &str) -> Durations {
        let mut durations = Durations::default();
        for sample in samples(text, "d") {
            durations.add(&sample.unwrap());
        }
        durations
    }

    const BUCKETS: &str = concat!(
        "d_bucket{engine=\"memory\",le=\"0.001\"} 50\n",
        "d_bucket{engine=\"redis\",le=\"0.001\"} 0\n",
        "d_bucket{le=\"0.01\"} 100\n",
        "d_bucket{le=\"+Inf\"} 100\n",
        "d_sum 1\n",
        "d_count 100\n",
    );

    #[test]
    fn a_quantile_of_buckets_is_interpolated() {
        let all = durations(BUCKETS);
        assert_eq!(all.quantile(0.5), Some(0.001));
        assert!((all.quantile(0.99).unwrap() - 0.00982).abs() < 1e-9);
        assert_eq!(
            durations("d_bucket{le=\"1\"} 0\nd_bucket{le=\"+Inf\"} 5\n").quantile(0.5),
            Some(1.0)
        );
    }

    #[test]
    fn only_what_came_since_counts() {
        let (before, after) = (
            durations(BUCKETS),
            durations("d_bucket{le=\"0.001\"} 50\nd_bucket{le=\"0.01\"} 200\n"),
        );
        assert!((after.since(&before).quantile(0.5).unwrap() - 0.0055).abs() < 1e-9);
        assert_eq!(before.since(&before).quantile(0.5), None);
    }

    #[test]
    fn quantiles_are_taken_as_they_are() {
        let all = durations(
            "d{quantile=\"0.5\"} 0.2\nd{engine=\"b\",quantile=\"0.5\"} 0.1\nd{quantile=\"0.99\"} NaN\n",
        );
        assert_eq!(all.quantile(0.5), Some(0.2));
        assert_eq!(all.quantile(0.99), None);
    }
}
