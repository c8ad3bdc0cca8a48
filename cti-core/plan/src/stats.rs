//! Means of simulated figures with confidence intervals.
//!
//! The parts are independent, or nearly: replications of a run, or batches of one long run. Where several intervals are
//! claimed at once, [`Confidence::simultaneous`] shares the error among them (Bonferroni): all hold together with the level.

use serde::{Deserialize, Serialize};

/// A mean and how far it may be off either way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    pub mean: f64,
    pub half_width: f64,
}

impl Interval {
    pub fn contains(&self, value: f64) -> bool {
        (self.mean - value).abs() <= self.half_width
    }
}

/// How sure: the level of each interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Confidence(f64);

impl Confidence {
    /// `level` as 0.95.
    pub fn single(level: f64) -> Self {
        Self(level)
    }

    /// Each of `intervals` so sure that together they hold with `level`, whatever binds them. Source: Dunn, JASA 56 (1961).
    pub fn simultaneous(level: f64, intervals: usize) -> Self {
        Self(1.0 - (1.0 - level) / intervals.max(1) as f64)
    }

    /// The mean over independent parts. `None` for fewer than two parts.
    pub fn of(self, parts: &[f64]) -> Option<Interval> {
        self.controlled(parts, &[])
    }

    /// The mean over independent parts by control variates: what is known of `controls` (each the deviation, in each part, of
    /// something whose mean is known, from that mean) is taken out of the parts by least squares.
    /// Source: Lavenberg & Welch, Management Science 27 (1981). `None` where the parts are too few for so many controls.
    pub fn controlled(self, parts: &[f64], controls: &[Vec<f64>]) -> Option<Interval> {
        let (n, k) = (parts.len(), controls.len());
        if n < k + 2 {
            return None;
        }
        // The regression's constant is the estimate: parts = constant + controls × slopes.
        let column = |at: usize, part: usize| if at == 0 { 1.0 } else { controls[at - 1][part] };
        let size = k + 1;
        let mut normal = vec![vec![0.0; size + 1]; size];
        for (part, value) in parts.iter().enumerate() {
            for (row, line) in normal.iter_mut().enumerate() {
                for (at, cell) in line.iter_mut().take(size).enumerate() {
                    *cell += column(row, part) * column(at, part);
                }
                line[size] += column(row, part) * value;
            }
        }
        let (solution, first) = solve(normal)?;
        let residual = |part: usize| parts[part] - (0..size).map(|at| solution[at] * column(at, part)).sum::<f64>();
        let squares: f64 = (0..n).map(|part| residual(part).powi(2)).sum();
        let freedom = n - size;
        let error = (squares / freedom as f64 * first).max(0.0).sqrt();
        Some(Interval { mean: solution[0], half_width: error * student((1.0 + self.0) / 2.0, freedom) })
    }
}

/// Solves the square system in the first columns for its last column, and gives the inverse's first diagonal element.
fn solve(mut system: Vec<Vec<f64>>) -> Option<(Vec<f64>, f64)> {
    let size = system.len();
    for (row, line) in system.iter_mut().enumerate() {
        line.push(if row == 0 { 1.0 } else { 0.0 });
    }
    for at in 0..size {
        let pivot = (at..size).max_by(|a, b| system[*a][at].abs().total_cmp(&system[*b][at].abs()))?;
        system.swap(at, pivot);
        let lead = system[at][at];
        if lead.abs() < f64::MIN_POSITIVE {
            return None;
        }
        for cell in &mut system[at] {
            *cell /= lead;
        }
        let line = system[at].clone();
        for (row, other) in system.iter_mut().enumerate() {
            let factor = other[at];
            if row != at && factor != 0.0 {
                for (cell, by) in other.iter_mut().zip(&line) {
                    *cell -= factor * by;
                }
            }
        }
    }
    Some((system.iter().map(|line| line[size]).collect(), system[0][size + 1]))
}

/// The quantile of Student's distribution, to about 1e-4 of itself from three degrees of freedom on. Source: Hill, Algorithm 396, CACM 13 (1970).
pub fn student(probability: f64, freedom: usize) -> f64 {
    use std::f64::consts::{FRAC_PI_2, PI};
    let n = freedom.max(1) as f64;
    let two_sided = 2.0 * (1.0 - probability);
    if freedom <= 1 {
        return 1.0 / (two_sided * FRAC_PI_2).tan();
    }
    if freedom == 2 {
        return (2.0 / (two_sided * (2.0 - two_sided)) - 2.0).sqrt();
    }
    let a = 1.0 / (n - 0.5);
    let b = 48.0 / (a * a);
    let mut c = ((20_700.0 * a / b - 98.0) * a - 16.0) * a + 96.36;
    let d = ((94.5 / (b + c) - 3.0) / b + 1.0) * (a * PI / 2.0).sqrt() * n;
    let mut y = (d * two_sided).powf(2.0 / n);
    if y > 0.05 + a {
        let x = -normal_quantile(1.0 - two_sided / 2.0);
        y = x * x;
        if n < 5.0 {
            c += 0.3 * (n - 4.5) * (x + 0.6);
        }
        c += (((0.05 * d * x - 5.0) * x - 7.0) * x - 2.0) * x + b;
        y = (((((0.4 * y + 6.3) * y + 36.0) * y + 94.5) / c - y - 3.0) / b + 1.0) * x;
        y = (a * y * y).exp_m1();
    } else {
        y = ((1.0 / (((n + 6.0) / (n * y) - 0.089 * d - 0.822) * (n + 2.0) * 3.0) + 0.5 / (n + 4.0)) * y - 1.0)
            * (n + 1.0)
            / (n + 2.0)
            + 1.0 / y;
    }
    (n * y).sqrt()
}

/// The quantile of the standard normal distribution, to 1.2e-9 of itself. Source: P. J. Acklam's rational approximation.
pub fn normal_quantile(probability: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 5] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 4] =
        [7.784_695_709_041_462e-3, 3.224_671_290_700_398e-1, 2.445_134_137_142_996, 3.754_408_661_907_416];
    const TAIL: f64 = 0.02425;
    let polynomial = |coefficients: &[f64], x: f64| coefficients.iter().fold(0.0, |sum, c| sum * x + c);
    let tail = |p: f64| {
        let q = (-2.0 * p.ln()).sqrt();
        polynomial(&C, q) / (polynomial(&D, q) * q + 1.0)
    };
    if probability < TAIL {
        tail(probability)
    } else if probability > 1.0 - TAIL {
        -tail(1.0 - probability)
    } else {
        let q = probability - 0.5;
        let r = q * q;
        polynomial(&A, r) * q / (polynomial(&B, r) * r + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use cti_base::Rng;

    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (probability, expect) in
            [(0.5, 0.0), (0.975, 1.959_964), (0.995, 2.575_829), (0.9999, 3.719_016), (0.01, -2.326_348)]
        {
            assert!((normal_quantile(probability) - expect).abs() < 1e-6, "{probability}");
        }
        for (probability, freedom, expect) in [
            (0.975, 1, 12.706),
            (0.995, 2, 9.925),
            (0.975, 3, 3.182),
            (0.975, 4, 2.776),
            (0.9, 5, 1.476),
            (0.975, 10, 2.228),
            (0.995, 10, 3.169),
            (0.9995, 10, 4.587),
            (0.975, 30, 2.042),
            (0.9995, 30, 3.646),
            (0.9995, 120, 3.373),
            (0.75, 20, 0.687),
        ] {
            let quantile = student(probability, freedom);
            assert!((quantile - expect).abs() < 0.0011, "{probability}, {freedom}: {quantile}");
        }
    }

    #[test]
    fn an_interval_is_the_textbooks() {
        let parts = [9.0, 10.0, 11.0, 10.0];
        let Interval { mean, half_width } = Confidence::single(0.95).of(&parts).expect("four parts");
        assert!((mean - 10.0).abs() < 1e-12);
        // Deviation sqrt(2/3), over 4 parts, t = 3.182.
        assert!((half_width - (2.0f64 / 3.0).sqrt() / 2.0 * 3.182).abs() < 1e-3);
        assert_eq!(Confidence::single(0.95).of(&[1.0]), None);
    }

    /// Of many experiments about as many miss the truth as the level says, with controls and without; and controls help.
    #[test]
    fn intervals_cover_as_often_as_they_say() {
        let mut rng = Rng::from_number(3);
        let (mut plain_missed, mut controlled_missed, mut narrower) = (0, 0, 0);
        for _ in 0..2_000 {
            let known: Vec<f64> = (0..12).map(|_| rng.unit() - 0.5).collect();
            let parts: Vec<f64> = known.iter().map(|known| 7.0 + 3.0 * known + rng.unit() - 0.5).collect();
            let level = Confidence::single(0.9);
            let plain = level.of(&parts).expect("parts");
            let controlled = level.controlled(&parts, std::slice::from_ref(&known)).expect("parts");
            plain_missed += usize::from(!plain.contains(7.0));
            controlled_missed += usize::from(!controlled.contains(7.0));
            narrower += usize::from(controlled.half_width < plain.half_width);
        }
        assert!((150..250).contains(&plain_missed), "{plain_missed}");
        assert!((150..250).contains(&controlled_missed), "{controlled_missed}");
        assert!(narrower > 1_950, "{narrower}");
    }

    #[test]
    fn intervals_claimed_together_are_wider() {
        let parts = [1.0, 2.0, 3.0, 4.0, 5.0];
        let one = Confidence::single(0.99).of(&parts).expect("parts");
        let together = Confidence::simultaneous(0.99, 30).of(&parts).expect("parts");
        assert!(together.half_width > 2.0 * one.half_width);
    }
}
