//! Evidence as it would be if something were otherwise, for the rule to be applied to.
//!
//! Scores and differences are moved; the width of their intervals stays what was measured, since
//! nothing is known of the questions that would be answered otherwise.

use super::case::Case;
use crate::contrast::Contrast;
use crate::decision::SystemSummary;
use crate::{Arm, Interval, System};

/// Systems and their differences.
pub(super) struct Evidence {
    systems: Vec<SystemSummary>,
    contrasts: Vec<Contrast>,
}

impl Evidence {
    /// Another case with this evidence.
    pub(super) fn case<'a>(&'a self, case: &Case<'a>) -> Case<'a> {
        Case { systems: &self.systems, contrasts: &self.contrasts, ..case.clone() }
    }
}

fn moved(interval: Interval, by: f64) -> Interval {
    let Interval { estimate, lower, upper } = interval;
    Interval { estimate: estimate + by, lower: lower + by, upper: upper + by }
}

/// As if the systems that `which` picks scored `by` more, from 0 to 1.
pub(super) fn raised(case: &Case<'_>, which: &dyn Fn(System) -> bool, by: f64) -> Evidence {
    let mut systems = case.systems.to_vec();
    for summary in systems.iter_mut().filter(|summary| which(summary.system)) {
        summary.score = moved(summary.score, by).clamped(0.0, 1.0);
    }
    let gain = |system| if which(system) { by } else { 0.0 };
    let mut contrasts = case.contrasts.to_vec();
    for contrast in &mut contrasts {
        contrast.difference = moved(contrast.difference, gain(contrast.a) - gain(contrast.b));
    }
    Evidence { systems, contrasts }
}

/// As if `rag` had been given the gold passages: its answers are those of `oracle`. `None` where one
/// of them was not measured.
pub(super) fn perfect_retrieval(case: &Case<'_>) -> Option<Evidence> {
    let (rag, oracle) = (case.at(Arm::Rag), case.at(Arm::Oracle));
    let score = case.summary(oracle)?.score;
    let mut systems = case.systems.to_vec();
    systems.iter_mut().find(|summary| summary.system == rag)?.score = score;
    let with = |contrast: &Contrast| {
        let other = match (contrast.a == rag, contrast.b == rag) {
            (true, _) => contrast.b,
            (false, true) => contrast.a,
            (false, false) => return Some(*contrast),
        };
        if other == oracle {
            return Some(Contrast { difference: Interval::default(), ..*contrast });
        }
        Some(Contrast { a: rag, ..case.contrast(oracle, other)? })
    };
    let contrasts = case.contrasts.iter().filter_map(with).collect();
    Some(Evidence { systems, contrasts })
}

/// As if `newcomer` had been measured, too: `lead` above `anchor`, dearer than all others, and held
/// against `anchor` as exactly as that is against its nearest rival. `None` where `anchor` has
/// none.
pub(super) fn joined(
    case: &Case<'_>,
    newcomer: System,
    anchor: System,
    lead: f64,
) -> Option<Evidence> {
    let model = case.summary(anchor)?;
    let rival = case.closest_rival(anchor)?;
    let half = (rival.difference.upper - rival.difference.lower) / 2.0;
    let dearest = case.eligible().iter().map(|other| other.seconds_per_query).fold(0.0, f64::max);
    let fixed = case.eligible().iter().map(|other| other.costs.fixed_seconds()).fold(0.0, f64::max);
    let mut added = SystemSummary {
        system: newcomer,
        score: moved(model.score, lead).clamped(0.0, 1.0),
        seconds_per_query: dearest,
        ..model.clone()
    };
    // A second more than all others, so that it comes last in the order of cost.
    added.costs.training_seconds = fixed + 1.0;
    added.costs.index_seconds = 0.0;
    let mut contrasts = case.contrasts.to_vec();
    let others = case.systems.iter().filter_map(|other| case.contrast(anchor, other.system));
    contrasts.extend(others.map(|contrast| Contrast {
        a: newcomer,
        difference: moved(contrast.difference, lead),
        ..contrast
    }));
    let difference = Interval { estimate: lead, lower: lead - half, upper: lead + half };
    contrasts.push(Contrast { a: newcomer, b: anchor, difference, ..rival });
    let systems = case.systems.iter().cloned().chain([added]).collect();
    Some(Evidence { systems, contrasts })
}

#[cfg(test)]
mod tests {
    use super::moved;
    use crate::Interval;

    #[test]
    fn an_interval_is_moved_and_keeps_its_width() {
        let moved = moved(Interval { estimate: 0.5, lower: 0.4, upper: 0.7 }, 0.1);
        assert!((moved.upper - moved.lower - 0.3).abs() < 1e-12 && moved.estimate == 0.6);
    }
}
