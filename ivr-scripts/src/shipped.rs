//! The prompts, the music and the scripts that ship inside the program.

use std::collections::BTreeMap;

#[path = "generated/prompts.rs"]
mod generated;

/// Locale (or `music`), name, and the WAV file: 8 kHz, mono, 16-bit PCM. Sorted by locale and name, bytewise.
pub const PROMPTS: &[(&str, &str, &[u8])] = generated::PROMPTS;

/// Name and source.
pub const SCRIPTS: &[(&str, &str)] = &[("main", include_str!("../scripts/main.toml"))];

/// The WAV file of a prompt, e.g. `prompt("zh-CN", "welcome")`, `prompt("music", "default")`.
pub fn prompt(locale: &str, name: &str) -> Option<&'static [u8]> {
    let at = PROMPTS.binary_search_by(|(l, n, _)| (*l, *n).cmp(&(locale, name))).ok()?;
    Some(PROMPTS[at].2)
}

pub fn script(name: &str) -> Option<&'static str> {
    SCRIPTS.iter().find(|(known, _)| *known == name).map(|(_, source)| *source)
}

/// What `World::prompts` takes: the shipped names in each locale, and the music's under `music`.
pub fn prompt_names() -> BTreeMap<String, Vec<String>> {
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (locale, name, _) in PROMPTS {
        names.entry((*locale).to_owned()).or_default().push((*name).to_owned());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Script, World};

    /// All the shipped audio together: it is part of the program's size.
    const BYTES_MAX: usize = 6_000_000;

    #[test]
    fn every_prompt_is_telephone_audio_and_in_both_languages() {
        let mut bytes = 0;
        for (locale, name, wav) in PROMPTS {
            bytes += wav.len();
            let place = format!("{locale}/{name}");
            let word = |at: usize| u32::from_le_bytes([wav[at], wav[at + 1], wav[at + 2], wav[at + 3]]);
            assert_eq!((&wav[..4], &wav[8..16]), (&b"RIFF"[..], &b"WAVEfmt "[..]), "{place}");
            assert_eq!((word(16), word(20), word(24), word(32)), (16, 0x1_0001, 8_000, 0x10_0002), "{place}");
            assert_eq!((&wav[36..40], word(40) as usize), (&b"data"[..], wav.len() - 44), "{place}");
            let loudest = wav[44..].chunks_exact(2).map(|s| i16::from_le_bytes([s[0], s[1]]).unsigned_abs()).max();
            assert!(loudest > Some(2_000) && loudest < Some(32_767), "{place}: loudest sample {loudest:?}");
            if *locale != "music" {
                assert!(prompt("zh-CN", name).is_some() && prompt("en", name).is_some(), "{name}");
            }
            assert_eq!(prompt(locale, name).map(<[u8]>::len), Some(wav.len()), "the table is sorted: {place}");
        }
        assert!(bytes < BYTES_MAX, "{bytes} bytes");
        assert!(prompt("fr", "welcome").is_none());
    }

    #[test]
    fn the_table_has_every_text_and_every_text_is_spoken() {
        let texts = include_str!("../prompts/prompts.toml");
        let names: Vec<&str> =
            texts.lines().filter_map(|line| line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'))).collect();
        for name in &names {
            assert!(prompt("en", name).is_some(), "{name} is not spoken: run `make regen`");
        }
        for (locale, name, _) in PROMPTS {
            let tone = ["zip", "beep", "ringback"].contains(name) || *locale == "music";
            assert!(tone || names.contains(name), "{locale}/{name} has no text: run `make regen`");
        }
    }

    #[test]
    fn the_audio_is_that_of_the_texts() {
        use sha2::Digest;
        let sources = [include_bytes!("../prompts/prompts.toml").as_slice(), include_bytes!("../prompts/regen.sh")];
        let digest = sha2::Sha256::digest(sources.concat());
        let text: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, generated::SOURCE_SHA256, "prompts.toml or regen.sh changed: run `make regen`");
    }

    #[test]
    fn the_music_begins_and_ends_in_silence() {
        let wav = prompt("music", "default").expect("shipped");
        let seconds = (wav.len() - 44) / 16_000;
        assert_eq!(seconds, 30);
        for end in [&wav[44..60], &wav[wav.len() - 16..]] {
            assert!(end.chunks_exact(2).all(|s| i16::from_le_bytes([s[0], s[1]]).abs() < 200));
        }
    }

    #[test]
    fn shipped_scripts_compile_against_shipped_prompts() {
        let names = prompt_names();
        let queues = ["general", "repair", "rescue"].map(String::from);
        let hours = ["office".to_owned()];
        let world = World { queues: Some(&queues), hours: Some(&hours), prompts: Some(&names) };
        for (name, source) in SCRIPTS {
            let compiled = Script::compile(source, world);
            assert!(compiled.is_ok(), "{name}: {compiled:?}");
        }
    }
}
