use std::sync::Arc;

use cti_media::prompt::Prompt;
use cti_media::rtp::FRAME_SAMPLES;
use cti_media::tone::Tone;
use cti_media::{Audio, Law, PlayId};

use super::PromptLibrary;

/// Parts of one playback; an announcement of a number in words needs about ten.
const PARTS_MAX: usize = 256;

/// One playback under way.
pub(super) struct Playing {
    pub play: PlayId,
    parts: Vec<Part>,
    repeat: bool,
    /// The part that is next and how much of it was sent.
    part: usize,
    offset: usize,
    samples: usize,
}

enum Part {
    Prompt(Arc<Prompt>),
    Silence(usize),
}

impl Playing {
    /// Prompts that the library has not are left out and logged.
    pub fn new(play: PlayId, audio: &[Audio], repeat: bool, library: &PromptLibrary) -> Self {
        if audio.len() > PARTS_MAX {
            tracing::warn!(parts = audio.len(), "a playback has more than {PARTS_MAX} parts: the rest is left out");
        }
        let parts: Vec<Part> = audio
            .iter()
            .take(PARTS_MAX)
            .filter_map(|audio| match audio {
                Audio::Silence(ms) => Some(Part::Silence(*ms as usize * 8)),
                Audio::Tone { hz, ms } => {
                    let samples: Vec<i16> = Tone::sine(f64::from(*hz)).take(usize::from(*ms) * 8).collect();
                    Some(Part::Prompt(Arc::new(Prompt::from_linear(&samples))))
                }
                Audio::Prompt(name) => {
                    let prompt = library.prompt(name);
                    if prompt.is_none() {
                        tracing::warn!(prompt = %name.0, "the prompt is not in the library: it is left out");
                    }
                    prompt.map(Part::Prompt)
                }
            })
            .collect();
        let samples = parts.iter().map(Part::samples).sum();
        Self { play, parts, repeat, part: 0, offset: 0, samples }
    }

    /// Fills the next 20 ms; `false` at the end. A loop goes on within a frame; an end is filled up with silence.
    pub fn fill(&mut self, law: Law, frame: &mut [u8]) -> bool {
        debug_assert_eq!(frame.len(), FRAME_SAMPLES);
        if self.samples == 0 {
            frame.fill(law.silence());
            return self.repeat;
        }
        let mut filled = 0;
        while filled < frame.len() {
            let Some(part) = self.parts.get(self.part) else {
                if !self.repeat {
                    break;
                }
                self.part = 0;
                continue;
            };
            let count = (part.samples() - self.offset).min(frame.len() - filled);
            let space = &mut frame[filled..filled + count];
            match part {
                Part::Prompt(prompt) => space.copy_from_slice(&prompt.bytes(law)[self.offset..self.offset + count]),
                Part::Silence(_) => space.fill(law.silence()),
            }
            filled += count;
            self.offset += count;
            if self.offset == part.samples() {
                self.part += 1;
                self.offset = 0;
            }
        }
        frame[filled..].fill(law.silence());
        filled != 0
    }
}

impl Part {
    fn samples(&self) -> usize {
        match self {
            Self::Prompt(prompt) => prompt.samples(),
            Self::Silence(samples) => *samples,
        }
    }
}

#[cfg(test)]
mod tests {
    use cti_media::PromptRef;

    use super::*;

    fn library() -> PromptLibrary {
        let wav = |samples: &[i16]| {
            let mut file =
                b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data".to_vec();
            file.extend((samples.len() as u32 * 2).to_le_bytes());
            file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
            file
        };
        let ramp: Vec<i16> = (0..100).map(|n| n * 300).collect();
        PromptLibrary::from_files([("en/ramp.wav".to_owned(), wav(&ramp)), ("en/empty.wav".to_owned(), wav(&[]))])
            .expect("the prompts are read")
    }

    fn prompt(name: &str) -> Audio {
        Audio::Prompt(PromptRef(name.into()))
    }

    /// All frames of a playback, at most `limit`.
    fn played(audio: &[Audio], repeat: bool, limit: usize) -> Vec<u8> {
        let mut playing = Playing::new(PlayId(1), audio, repeat, &library());
        let mut all = Vec::new();
        let mut frame = [0; FRAME_SAMPLES];
        while all.len() < limit * FRAME_SAMPLES && playing.fill(Law::Pcma, &mut frame) {
            all.extend_from_slice(&frame);
        }
        all
    }

    #[test]
    fn parts_follow_each_other_without_a_gap() {
        let ramp: Vec<u8> = (0..100).map(|n| Law::Pcma.encode(n * 300)).collect();
        let silence = |count: usize| vec![Law::Pcma.silence(); count];
        let audio = [prompt("en/ramp"), Audio::Silence(10), prompt("en/ramp")];
        assert_eq!(played(&audio, false, 9), [ramp.clone(), silence(80), ramp.clone(), silence(40)].concat());
        // A loop of 100 samples goes on within a frame.
        assert_eq!(played(&[prompt("en/ramp")], true, 5), ramp.repeat(8));
    }

    #[test]
    fn a_tone_is_the_one_asked_for() {
        let heard = played(&[Audio::Tone { hz: 440, ms: 100 }], false, 10);
        let linear: Vec<i16> = heard.iter().map(|byte| Law::Pcma.linear()[usize::from(*byte)]).collect();
        assert_eq!(linear.len(), 800);
        assert!(cti_media::tone::share(&linear, 440.0) > 0.9);
    }

    #[test]
    fn what_is_not_there_takes_no_time() {
        assert!(played(&[prompt("en/none")], false, 5).is_empty());
        assert!(played(&[], false, 5).is_empty());
        assert!(played(&[prompt("en/empty")], false, 5).is_empty());
        assert_eq!(played(&[prompt("en/none"), Audio::Silence(20)], false, 5).len(), 160);
        // An empty loop is silence for ever, not a busy one.
        assert_eq!(played(&[prompt("en/empty"), prompt("en/none")], true, 5), vec![Law::Pcma.silence(); 800]);
    }
}
