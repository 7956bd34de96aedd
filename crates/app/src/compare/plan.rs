//! Which arms run, and what is said of the work beforehand.

use std::str::FromStr;

use eval::Arm;
use serde::Serialize;

/// Which arms to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ArmChoice {
    /// The cheap arms, and the fine-tuned ones when the ceiling gate opens.
    #[default]
    Auto,
    /// Every arm, gate or no gate.
    All,
    /// These.
    List(Vec<Arm>),
}

impl FromStr for ArmChoice {
    type Err = eval::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "all" => Ok(Self::All),
            list => {
                let mut arms: Vec<Arm> =
                    list.split(',').map(|name| name.trim().parse()).collect::<Result<_, _>>()?;
                arms.sort_unstable();
                arms.dedup();
                Ok(Self::List(arms))
            }
        }
    }
}

/// What a set has for its arms to work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Material {
    /// Documents to retrieve passages from.
    pub(super) documents: bool,
    /// Questions that name their evidence in the documents. It tells the gold passages, which some
    /// arms read and others are trained on.
    pub(super) evidence: bool,
}

impl Material {
    fn allows(self, arm: Arm) -> bool {
        // Baselines need no model and run by themselves.
        !arm.is_floor()
            && (self.documents || !arm.uses_passages())
            && (self.evidence || !(arm.uses_gold() || arm.needs_raft_adapter()))
    }

    /// Those of `arms` that can be run.
    pub(super) fn possible(self, arms: impl IntoIterator<Item = Arm>) -> Vec<Arm> {
        arms.into_iter().filter(|arm| self.allows(*arm)).collect()
    }
}

/// The arms that need no training, in order of display.
pub(super) const CHEAP: [Arm; 4] = [Arm::Base, Arm::FewShot, Arm::Rag, Arm::Oracle];
/// The arms on fine-tuned weights.
const FINE_TUNED: [Arm; 4] = [Arm::Tuned, Arm::TunedRag, Arm::Raft, Arm::RaftOracle];

/// The arms run on test.
pub(super) fn test_arms(choice: &ArmChoice, material: Material, gate_open: bool) -> Vec<Arm> {
    match choice {
        ArmChoice::List(arms) => material.possible(arms.iter().copied()),
        ArmChoice::Auto if !gate_open => material.possible(CHEAP),
        ArmChoice::Auto | ArmChoice::All => material.possible(CHEAP.into_iter().chain(FINE_TUNED)),
    }
}

/// What a comparison will take.
#[derive(Clone, Debug, Serialize)]
pub struct ComparisonEstimate {
    /// The set.
    pub set: String,
    /// Arms on dev.
    pub dev_arms: Vec<Arm>,
    /// Arms on test, if the gate opens.
    pub test_arms: Vec<Arm>,
    /// Trials on dev.
    pub dev_trials: usize,
    /// Trials on dev that are there already.
    pub dev_reused: usize,
    /// Trials on test without fine-tuned arms.
    pub test_trials: usize,
    /// Adapters for each recipe, at most, if fine-tuning is due.
    pub seeds: u64,
    /// Further trials on test if the fine-tuned arms run (once for each seed).
    pub fine_tuned_trials: usize,
    /// Seconds for the dev trials.
    pub dev_seconds: f64,
    /// Seconds for the test trials without fine-tuned arms, if none is there already.
    pub test_seconds: f64,
    /// Seconds for the trials of the fine-tuned arms; training comes on top and is estimated before
    /// it starts.
    pub fine_tuned_seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_runs_the_arms_it_has_material_for() {
        use Arm::*;
        let all = Material { documents: true, evidence: true };
        let no_evidence = Material { evidence: false, ..all };
        let nothing = Material { documents: false, evidence: false };
        assert_eq!(
            test_arms(&ArmChoice::All, no_evidence, false),
            [Base, FewShot, Rag, Tuned, TunedRag]
        );
        assert_eq!(test_arms(&ArmChoice::All, nothing, true), [Base, FewShot, Tuned]);
        assert_eq!(test_arms(&ArmChoice::Auto, all, false), [Base, FewShot, Rag, Oracle]);
        assert_eq!(test_arms(&ArmChoice::Auto, all, true).len(), 8);
        let list: ArmChoice = "raft, base".parse().unwrap();
        assert_eq!(test_arms(&list, all, false), [Base, Raft]);
        assert_eq!(no_evidence.possible([Rag, Oracle]), [Rag]);
        assert!("base,both".parse::<ArmChoice>().is_err());
    }
}
