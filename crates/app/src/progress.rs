//! What long work reports to, and what tells it to stop.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Error, Result};

/// Where a flow reports its events of kind `E`, and whether somebody wants it to stop.
///
/// Flows look at the flag between pieces of work and return [`Error::Interrupted`]; what they have
/// stored until then is kept. Drawing and signals are the caller's.
pub struct Progress<'a, E> {
    stop: &'a AtomicBool,
    report: &'a mut dyn FnMut(E),
}

impl<'a, E> Progress<'a, E> {
    /// Events go to `report`; work ends soon after `stop` is set.
    pub fn new(stop: &'a AtomicBool, report: &'a mut dyn FnMut(E)) -> Self {
        Self { stop, report }
    }

    /// Passes an event on.
    pub fn report(&mut self, event: E) {
        (self.report)(event);
    }

    /// The flag itself, for the engine and for parts of the work that report nothing.
    #[must_use]
    pub fn stop(&self) -> &'a AtomicBool {
        self.stop
    }

    /// Runs a part of the work whose events are of another kind, each turned into one of these.
    pub fn part<F, T>(
        &mut self,
        into: impl Fn(F) -> E,
        work: impl FnOnce(&mut Progress<'_, F>) -> T,
    ) -> T {
        let report = &mut *self.report;
        work(&mut Progress { stop: self.stop, report: &mut |event| report(into(event)) })
    }

    /// # Errors
    /// [`Error::Interrupted`] once the work should stop.
    pub fn check(&self) -> Result<()> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_reports_through_the_whole_and_stops_with_it() {
        let (stop, mut seen) = (AtomicBool::new(false), Vec::new());
        let mut report = |event: String| seen.push(event);
        let mut whole = Progress::new(&stop, &mut report);
        whole.report("begun".to_owned());
        let interrupted = whole.part(
            |number: usize| number.to_string(),
            |part| {
                part.report(7);
                assert!(part.check().is_ok());
                stop.store(true, Ordering::Relaxed);
                part.check()
            },
        );
        assert!(matches!(interrupted, Err(Error::Interrupted)));
        assert_eq!(seen, ["begun", "7"]);
    }
}
