//! Durations, and what they come to.

use std::time::Duration;

use serde::Serialize;

/// Durations of the same thing, done many times.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<Duration>);

/// What samples come to, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Quantiles {
    /// How many samples there were.
    pub count: usize,
    /// Half are no longer.
    pub p50: u64,
    /// 99 of 100 are no longer.
    pub p99: u64,
    /// The longest.
    pub max: u64,
}

// === impl Samples ===

impl Samples {
    /// Room for so many.
    pub fn with_capacity(samples: usize) -> Self {
        Self(Vec::with_capacity(samples))
    }

    /// Adds one.
    pub fn push(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// What they come to; all zero when there are none.
    pub fn quantiles(mut self) -> Quantiles {
        self.0.sort_unstable();
        let nanos = |at: usize| {
            let sample = self.0.get(at).or(self.0.last());
            sample.map_or(0, |sample| {
                u64::try_from(sample.as_nanos()).unwrap_or(u64::MAX)
            })
        };
        Quantiles {
            count: self.0.len(),
            p50: nanos(self.0.len() / 2),
            p99: nanos(self.0.len() * 99 / 100),
            max: nanos(self.0.len().saturating_sub(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let mut samples = Samples::default();
        for nanos in (0..100).rev() {
            samples.push(Duration::from_nanos(nanos));
        }
        let found = samples.quantiles();
        assert_eq!((found.p50, found.p99, found.max), (50, 99, 99));
        assert_eq!(Samples::default().quantiles().max, 0);
    }
}
