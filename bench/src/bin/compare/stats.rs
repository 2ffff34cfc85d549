//! Medians, spreads and ratios.

use serde::Serialize;

/// What repeated measurements of one thing gave.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of no values, or of one that is no number, there is none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        values.sort_by(f64::total_cmp);
        Some(Self { median: middle(&values), min: values[0], max: values[values.len() - 1] })
    }

    /// The ratios of pairs that were measured one right after the other: what slows both of a pair down does not show.
    pub(crate) fn of_ratios(above: &[f64], below: &[f64]) -> Option<Self> {
        Self::of(above.iter().zip(below).map(|(above, below)| above / below))
    }
}

/// The median of sorted values, of which there is at least one.
fn middle(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) }
}

/// The median, of at least one value.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    Spread::of(values).map(|spread| spread.median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middle_ones() {
        for (values, want) in [
            (&[][..], None),
            (&[3.0], Some(3.0)),
            (&[9.0, 1.0, 4.0], Some(4.0)),
            (&[8.0, 1.0, 2.0, 4.0], Some(3.0)),
            (&[1.0, f64::NAN], None),
        ] {
            assert_eq!(median(values.iter().copied()), want, "{values:?}");
        }
    }

    #[test]
    fn a_spread_has_its_ends() {
        assert_eq!(Spread::of([5.0, 1.0, 9.0]), Some(Spread { median: 5.0, min: 1.0, max: 9.0 }));
    }

    #[test]
    fn ratios_are_those_of_pairs_and_not_of_medians() {
        let spread = Spread::of_ratios(&[10.0, 40.0, 30.0], &[5.0, 10.0, 30.0]);
        assert_eq!(spread, Some(Spread { median: 2.0, min: 1.0, max: 4.0 }));
        assert_eq!(Spread::of_ratios(&[1.0], &[0.0]), None, "nothing is no yardstick");
        assert_eq!(Spread::of_ratios(&[1.0], &[]), None);
    }
}
