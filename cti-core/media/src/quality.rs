//! How a stream of G.711 is heard: the E-model (ITU-T G.107), with its default values but for what was measured, namely loss,
//! jitter and the way there and back.

/// R without any impairment: the defaults of G.107 table 3.
const R_BEST: f64 = 93.2;
/// G.711's packet-loss robustness with concealment (G.113 appendix I), which telephones and browsers have.
const BPL: f64 = 25.1;
/// 20 ms in a packet.
const PACKET_MS: f64 = 20.0;
/// A receiver's buffer is about so many times the jitter long.
const BUFFER_OF_JITTER: f64 = 2.0;
/// Beyond it delay is noticed (R. G. Cole, J. H. Rosenbluth, "Voice over IP performance monitoring", 2001).
const DELAY_NOTICED_MS: f64 = 177.3;

/// The mean opinion score, 1 to 4.5. `loss` is a share, 0 to 1; the round trip is taken as 0 where nobody measured it.
pub fn mos(loss: f64, jitter_ms: f64, round_trip_ms: Option<f64>) -> f64 {
    let delay_ms = round_trip_ms.unwrap_or(0.0) / 2.0 + PACKET_MS + BUFFER_OF_JITTER * jitter_ms;
    // Cole and Rosenbluth's fit to G.107's Id.
    let delay = 0.024 * delay_ms + 0.11 * (delay_ms - DELAY_NOTICED_MS).max(0.0);
    // G.107 7-29 with Ie = 0 and losses that come singly.
    let percent = 100.0 * loss.clamp(0.0, 1.0);
    let equipment = 95.0 * percent / (percent + BPL);
    of_rating(R_BEST - delay - equipment)
}

/// G.107 annex B.
fn of_rating(r: f64) -> f64 {
    match r {
        r if r <= 0.0 => 1.0,
        r if r >= 100.0 => 4.5,
        r => (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_the_models() {
        let check = |loss: f64, jitter_ms: f64, round_trip_ms: Option<f64>, expect: f64| {
            let mos = mos(loss, jitter_ms, round_trip_ms);
            assert!((mos - expect).abs() < 0.02, "{loss} {jitter_ms} {round_trip_ms:?}: {mos}");
        };
        check(0.0, 0.0, None, 4.40);
        check(0.0, 0.0, Some(300.0), 4.32);
        check(0.01, 0.0, None, 4.32);
        check(0.05, 0.0, None, 3.90);
        check(0.2, 0.0, None, 2.61);
        check(0.0, 10.0, Some(800.0), 2.77);
        check(1.0, 0.0, None, 1.17);
    }

    #[test]
    fn the_rating_maps_as_annex_b_tells() {
        for (r, expect) in
            [(-5.0, 1.0), (50.0, 2.58), (60.0, 3.10), (70.0, 3.60), (80.0, 4.03), (90.0, 4.34), (101.0, 4.5)]
        {
            assert!((of_rating(r) - expect).abs() < 0.01, "{r}: {}", of_rating(r));
        }
    }

    #[test]
    fn worse_is_never_heard_better() {
        let mut last = f64::MAX;
        for percent in 0..=100 {
            let now = mos(f64::from(percent) / 100.0, 5.0, Some(60.0));
            assert!(now <= last && (1.0..=4.5).contains(&now), "{percent} %: {now} after {last}");
            last = now;
        }
    }
}
