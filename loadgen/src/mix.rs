//! Which operation comes next.

use crate::cli::Workload;
use crate::op::Op;
use crate::random::Random;

/// Operations and their shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mix {
    /// Each with the sum of the shares up to and including its own.
    upto: Vec<(Op, u64)>,
}

/// Of which a mix can be made.
const OPS: [Op; 4] = [Op::Get, Op::QuorumGet, Op::Put, Op::Delete];

impl Mix {
    /// The operations of a workload; `text` is allowed for [`Workload::Mixed`] only.
    pub(crate) fn new(workload: Workload, text: Option<&str>) -> Result<Self, String> {
        if text.is_some() && workload != Workload::Mixed {
            return Err("--mix is for --workload mixed".to_owned());
        }
        Ok(match (workload, text) {
            (Workload::Mixed, Some(text)) => Self::parse(text)?,
            (Workload::Mixed, None) => Self::of(&[(Op::Get, 9), (Op::Put, 1)]),
            (Workload::Deep, _) => Self::of(&[(Op::Get, 1), (Op::Put, 1)]),
            (Workload::Get | Workload::Churn, _) => Self::of(&[(Op::Get, 1)]),
            (Workload::QuorumGet, _) => Self::of(&[(Op::QuorumGet, 1)]),
            _ => Self::of(&[(Op::Put, 1)]),
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("--mix {text:?}: say shares such as get=80,put=15,quorum-get=5,delete=1");
        let mut shares = Vec::new();
        for part in text.split(',') {
            let (name, share) = part.split_once('=').ok_or_else(wrong)?;
            let op = OPS.into_iter().find(|op| op.name() == name).ok_or_else(wrong)?;
            let share: u32 = share.parse().map_err(|_| wrong())?;
            shares.push((op, u64::from(share)));
        }
        if shares.iter().all(|(_, share)| *share == 0) { Err(wrong()) } else { Ok(Self::of(&shares)) }
    }

    fn of(shares: &[(Op, u64)]) -> Self {
        let mut sum = 0;
        let with_sums = shares.iter().filter(|(_, share)| *share > 0).map(|(op, share)| {
            sum += share;
            (*op, sum)
        });
        Self { upto: with_sums.collect() }
    }

    /// The next operation.
    pub(crate) fn pick(&self, random: &mut Random) -> Op {
        let [.., (last, sum)] = self.upto.as_slice() else { unreachable!("a mix has a share above 0") };
        if self.upto.len() == 1 {
            return *last;
        }
        let drawn = random.below(*sum);
        self.upto.iter().find(|(_, upto)| drawn < *upto).map_or(*last, |(op, _)| *op)
    }

    /// Whether this operation is part of it.
    pub(crate) fn has(&self, op: Op) -> bool {
        self.upto.iter().any(|(part, _)| *part == op)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_kept() {
        let mix = Mix::new(Workload::Mixed, Some("get=80,put=15,delete=0,quorum-get=5")).expect("valid");
        let mut random = Random::new(1, 0);
        let mut counts = [0; Op::ALL.len()];
        (0..100_000).for_each(|_| counts[mix.pick(&mut random).index()] += 1);
        for (op, share) in [(Op::Get, 80_000), (Op::Put, 15_000), (Op::QuorumGet, 5000), (Op::Delete, 0)] {
            let got: i32 = counts[op.index()];
            assert!((got - share).abs() <= share / 20, "{}: {got}", op.name());
        }
        assert!(!mix.has(Op::Delete));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "get", "get=-1", "list=1", "get=0"] {
            assert!(Mix::new(Workload::Mixed, Some(text)).is_err(), "{text:?}");
        }
    }
}
