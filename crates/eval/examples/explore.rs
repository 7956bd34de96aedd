#![allow(clippy::unwrap_used)]
use tunesmith_eval::stats::*;
use std::env;
struct World { acc: Vec<f64>, seeds: Vec<usize>, n: usize, clusters: usize, icc: f64, luck: f64 }
struct Sys { rows: Vec<Vec<f64>>, trained: bool, real: f64 }
fn draw(w: &World, r: &mut Random) -> (Vec<Sys>, Vec<String>) {
    let names: Vec<String> = (0..w.n).map(|i| format!("{:05}", i % w.clusters)).collect();
    let diff: Vec<f64> = (0..w.n).map(|_| r.normal()).collect();
    let shared = 0.6f64;
    let sys = w.acc.iter().zip(&w.seeds).map(|(acc, seeds)| {
        let trained = *seeds > 0;
        let effect: Vec<f64> = (0..w.clusters).map(|_| r.normal()).collect();
        let mut real = 0.0;
        let rows = (0..(*seeds).max(1)).map(|_| {
            let a = acc + if trained { w.luck * r.normal() } else { 0.0 };
            real += a;
            let cut = normal_quantile(a.clamp(0.001, 0.999));
            (0..w.n).map(|q| {
                let own = w.icc.sqrt() * effect[q % w.clusters] + (1.0 - w.icc).sqrt() * r.normal();
                let latent = shared.sqrt() * diff[q] + (1.0 - shared).sqrt() * own;
                f64::from(u8::from(latent < cut))
            }).collect()
        }).collect::<Vec<Vec<f64>>>();
        let k = rows.len() as f64;
        Sys { rows, trained, real: real / k }
    }).collect();
    (sys, names)
}
fn rows<'a>(a: &Sys, b: Option<&Sys>, names: &'a [String]) -> Vec<Row<'a>> {
    (0..names.len()).map(|q| Row { cluster: &names[q], a: a.rows.iter().map(|r| r[q]).collect(), b: b.map_or(vec![], |b| b.rows.iter().map(|r| r[q]).collect()) }).collect()
}
fn main() {
    let reps: usize = env::args().nth(1).map_or(200, |x| x.parse().unwrap());
    let dev: f64 = env::args().nth(2).map_or(0.05, |x| x.parse().unwrap());
    let free: f64 = env::args().nth(3).map_or(8.0, |x| x.parse().unwrap());
    let test = PairedTest { alpha: 0.05, luck: Luck { deviation: dev, freedom: free } };
    let m = 0.1;
    let mut cells: Vec<(String, World)> = vec![];
    for (n, g, icc) in [(200, 200, 0.0), (200, 10, 0.3), (500, 50, 0.3), (1000, 1000, 0.0), (200, 5, 0.3), (100, 20, 0.1)] {
        let mut add = |name: &str, acc: &[f64], seeds: &[usize], luck: f64| cells.push((format!("n {n} G {g} icc {icc} {name}"), World { acc: acc.to_vec(), seeds: seeds.to_vec(), n, clusters: g, icc, luck }));
        add("six identical", &[0.5; 6], &[0; 6], 0.0);
        add("six identical .8 3 trained, 1 seed, luck 5", &[0.8; 6], &[0, 0, 0, 1, 1, 1], 0.05);
        add("two equal .8, 3 seeds, luck 2", &[0.8; 2], &[0, 3], 0.02);
        add("two equal .95", &[0.95; 2], &[0, 0], 0.0);
        add("tuned 1 seed luck 5", &[0.5, 0.5], &[0, 1], 0.05);
        add("tuned 3 seeds luck 5", &[0.5, 0.5], &[0, 3], 0.05);
        for k in [0.5, 0.8, 1.2, 1.5, 2.0] { add(&format!("raft +{k}"), &[0.3, 0.4, 0.4 + m * k], &[0, 0, 3], 0.02); }
        for k in [0.8, 1.2, 1.5] { add(&format!("raft +{k} 1seed"), &[0.3, 0.4, 0.4 + m * k], &[0, 0, 1], 0.02); }
        add("four, dear worse by margin, luck 5, 1 seed", &[0.5, 0.6, 0.5, 0.5], &[0, 0, 1, 1], 0.05);
        add("cheap worse by margin", &[0.5, 0.6, 0.6], &[0, 0, 3], 0.05);
        add("tuned mid worse by margin of raft", &[0.3, 0.5, 0.6], &[0, 1, 1], 0.05);
    }
    for (name, w) in cells {
        let mut random = Random::new(7);
        let k = w.acc.len();
        let (mut fd, mut cover, mut covern, mut cm, mut cmn) = (0, 0, 0, 0, 0);
        let best = w.acc.iter().copied().fold(0.0, f64::max);
        let right = w.acc.iter().position(|p| *p >= best - m + 1e-9).unwrap();
        let (mut ok, mut open, mut harm, mut dear) = (0, 0, 0, 0);
        for _ in 0..reps {
            let (sys, names) = draw(&w, &mut random);
            let mut c = vec![vec![None; k]; k];
            let mut ps = vec![];
            for i in 0..k { 
                let mean = test.run(&rows(&sys[i], None, &names), Trained { a: sys[i].trained, b: false }, true);
                cmn += 1; cm += usize::from(mean.interval.contains(w.acc[i]));
                for j in 0..i {
                let f = test.run(&rows(&sys[i], Some(&sys[j]), &names), Trained { a: sys[i].trained, b: sys[j].trained }, true);
                ps.push(f.p);
                covern += 1; cover += usize::from(f.interval.contains(w.acc[i] - w.acc[j]));
                c[i][j] = Some(f.interval); c[j][i] = Some(f.interval.negated());
            } }
            fd += usize::from(holm(&ps).iter().any(|p| *p < 0.05));
            let mut named = None;
            for a in 0..k {
                if (0..k).all(|b| b == a || c[a][b].unwrap().lower > -m) {
                    let gone = (0..a).all(|q| (0..k).any(|b| b != q && { let x = c[q][b].unwrap(); x.upper < 0.0 && x.estimate <= -m }));
                    if gone { named = Some(a) }
                    break;
                }
            }
            match named { None => open += 1, Some(a) if a == right => ok += 1, Some(a) if w.acc[a] < best - m + 1e-9 => harm += 1, Some(_) => dear += 1 }
        }
        let s = |x: usize| 100.0 * x as f64 / reps as f64;
        println!("{name:60} diff<.05 {:5.1} cover {:.3} mean {:.3} | right {:5.1} open {:5.1} dearer {:5.1} harm {:4.1}", s(fd), cover as f64 / covern as f64, cm as f64 / cmn as f64, s(ok), s(open), s(dear), s(harm));
    }
}
