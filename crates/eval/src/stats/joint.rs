//! Means of several systems on the same questions, and how they vary together.

use std::collections::BTreeMap;

/// Means over the questions, and the covariance of these means when whole clusters are drawn
/// (delete-one-cluster jackknife, as in [`PairedTest`](super::PairedTest)).
#[derive(Debug, Clone, PartialEq)]
pub struct Joint {
    /// Questions.
    pub questions: usize,
    /// Clusters they fall into.
    pub clusters: usize,
    /// Mean of each system.
    pub means: Vec<f64>,
    /// `[system][system]`.
    pub covariance: Vec<Vec<f64>>,
}

impl Joint {
    /// `rows` are (cluster, one score for each system); `None` with fewer than two clusters or
    /// without systems.
    pub fn new(rows: &[(&str, Vec<f64>)]) -> Option<Self> {
        let systems = rows.first()?.1.len();
        let mut clusters: BTreeMap<&str, (f64, Vec<f64>)> = BTreeMap::new();
        for (cluster, scores) in rows {
            let (count, sums) =
                clusters.entry(cluster).or_insert_with(|| (0.0, vec![0.0; systems]));
            *count += 1.0;
            sums.iter_mut().zip(scores).for_each(|(sum, score)| *sum += score);
        }
        let (n, g) = (rows.len() as f64, clusters.len() as f64);
        if clusters.len() < 2 || systems == 0 {
            return None;
        }
        let total = |system: usize| clusters.values().map(|(_, sums)| sums[system]).sum::<f64>();
        let totals: Vec<f64> = (0..systems).map(total).collect();
        let without: Vec<Vec<f64>> = clusters
            .values()
            .map(|(count, sums)| {
                totals.iter().zip(sums).map(|(total, sum)| (total - sum) / (n - count)).collect()
            })
            .collect();
        let centre: Vec<f64> = (0..systems)
            .map(|system| without.iter().map(|means| means[system]).sum::<f64>() / g)
            .collect();
        let moment = |a: usize, b: usize| {
            let products = without.iter().map(|m| (m[a] - centre[a]) * (m[b] - centre[b]));
            (g - 1.0) / g * products.sum::<f64>()
        };
        let covariance =
            (0..systems).map(|a| (0..systems).map(|b| moment(a, b)).collect()).collect();
        let means = totals.iter().map(|total| total / n).collect();
        Some(Self { questions: rows.len(), clusters: clusters.len(), means, covariance })
    }

    /// Lower triangle `L` with `L Lᵀ` = covariance (Cholesky); a system that varies no further
    /// given those before it gets zeros.
    pub fn cholesky(&self) -> Vec<Vec<f64>> {
        let size = self.means.len();
        let mut lower = vec![vec![0.0; size]; size];
        for row in 0..size {
            for column in 0..=row {
                let dot: f64 = (0..column).map(|k| lower[row][k] * lower[column][k]).sum();
                let rest = self.covariance[row][column] - dot;
                lower[row][column] = match (row == column, lower[column][column]) {
                    (true, _) => rest.max(0.0).sqrt(),
                    (false, pivot) if pivot > 1e-12 => rest / pivot,
                    (false, _) => 0.0,
                };
            }
        }
        lower
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variance_of_a_difference_is_that_of_the_paired_test() {
        use crate::stats::{PairedTest, Row, Trained};
        let names: Vec<String> = (0..60).map(|index| format!("c{}", index % 12)).collect();
        let score = |index: usize, salt: usize| ((index % 12) * (salt * 5 + 1) % 7) as f64 / 6.0;
        let rows: Vec<_> = (0..60)
            .map(|index| (names[index].as_str(), vec![score(index, 1), score(index, 2)]))
            .collect();
        let joint = Joint::new(&rows).unwrap();
        let paired: Vec<_> =
            rows.iter().map(|(cluster, s)| Row { cluster, a: vec![s[0]], b: vec![s[1]] }).collect();
        let found = PairedTest::default().run(&paired, Trained::Neither, false);
        let c = &joint.covariance;
        let variance = c[0][0] + c[1][1] - 2.0 * c[0][1];
        assert!((variance.sqrt() - found.standard_error).abs() < 1e-12);
        assert!((joint.means[0] - joint.means[1] - found.interval.estimate).abs() < 1e-12);
        assert_eq!((joint.questions, joint.clusters), (60, 12));
    }

    #[test]
    fn cholesky_gives_the_covariance_back() {
        let rows: Vec<_> = ["a", "b", "c", "d", "e"]
            .iter()
            .enumerate()
            .map(|(i, name)| (*name, vec![i as f64, (i * i) as f64, 1.0]))
            .collect();
        let joint = Joint::new(&rows).unwrap();
        let lower = joint.cholesky();
        for a in 0..3 {
            for b in 0..3 {
                let product: f64 = (0..3).map(|k| lower[a][k] * lower[b][k]).sum();
                assert!((product - joint.covariance[a][b]).abs() < 1e-9);
            }
        }
        assert!(Joint::new(&[("a", vec![1.0])]).is_none());
    }
}
