use super::*;
use crate::kernels::isa::on_every_isa;
use crate::ops::testing::noise;

#[test]
fn a_head_matches_the_formula_for_texts_of_any_length() {
    on_every_isa(|isa| match isa >= Isa::Avx512Bf16 {
        true => heads_match_the_formula(),
        false => assert!(!self_attention(32, 1, &[0.0; 96], &mut [0.0; 32], Threads::One)),
    });
}

fn heads_match_the_formula() {
    for (width, heads) in [(32, 3), (64, 2)] {
        let hidden = width * heads;
        for rows in [1, 2, 7, 200, 8, 9, 15, 16, 17, 33, 48, 49, 95, 131] {
            let qkv: Vec<f32> =
                noise(rows as u64, rows * 3 * hidden).iter().map(|x| 3.0 * x).collect();
            let mut out = vec![f32::NAN; rows * hidden];
            let threads = if rows % 2 == 0 { Threads::All } else { Threads::One };
            assert!(self_attention(hidden, heads, &qkv, &mut out, threads));
            let at = |row: usize, part: usize, column: usize| {
                f64::from(qkv[(3 * row + part) * hidden + column])
            };
            for (i, found) in out.iter().enumerate() {
                let (row, column) = (i / hidden, i % hidden);
                let columns = column / width * width..(column / width + 1) * width;
                let score = |key: usize| {
                    columns.clone().map(|c| at(row, 0, c) * at(key, 1, c)).sum::<f64>()
                };
                let weights: Vec<f64> =
                    (0..rows).map(|key| (score(key) / (width as f64).sqrt()).exp()).collect();
                let mixed = weights.iter().enumerate().map(|(key, w)| w * at(key, 2, column));
                let expected = mixed.sum::<f64>() / weights.iter().sum::<f64>();
                // Three roundings to eight bits of numbers of up to three.
                assert!(
                    (f64::from(*found) - expected).abs() < 0.04,
                    "{rows}x{width}: {found} {expected}"
                );
            }
        }
    }
}

#[test]
fn exponentials_are_accurate() {
    for i in -500..=500 {
        let x = i as f32 / 1000.0;
        let found = EXP2.iter().fold(0.0, |power, coefficient| power * x + coefficient);
        assert!((found / x.exp2() - 1.0).abs() < 5e-6, "2^{x} = {found}");
    }
}
