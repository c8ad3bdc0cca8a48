use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use cti_media::PromptRef;
use cti_media::prompt::{Prompt, PromptError};

/// Prompts of one installation.
const PROMPTS_MAX: usize = 10_000;
/// Ten minutes of 16-bit audio and some.
const FILE_BYTES_MAX: u64 = 10 << 20;
/// `zh-CN/welcome.wav`, `tenant/zh-CN/welcome.wav`.
const DEPTH_MAX: usize = 4;

/// All prompts in memory, by `locale/name`; music by `music/name`.
#[derive(Debug, Default)]
pub struct PromptLibrary {
    prompts: BTreeMap<Arc<str>, Arc<Prompt>>,
}

#[derive(Debug, thiserror::Error)]
pub enum PromptLibraryError {
    #[error("the prompt {name}: {source}")]
    Prompt { name: String, source: PromptError },
    #[error("the prompts' folder {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("more than {PROMPTS_MAX} prompts")]
    TooMany,
}

impl PromptLibrary {
    /// Reads files by their path below the prompts' folder: `zh-CN/welcome.wav`. Others than `.wav` are passed over.
    pub fn from_files(files: impl IntoIterator<Item = (String, impl AsRef<[u8]>)>) -> Result<Self, PromptLibraryError> {
        let mut library = Self::default();
        for (path, bytes) in files {
            library.add(&path, bytes.as_ref())?;
        }
        Ok(library)
    }

    /// Reads a folder laid out as `locale/name.wav`; what is there already is replaced.
    pub fn add_dir(&mut self, root: &Path) -> Result<(), PromptLibraryError> {
        let mut folders = vec![(root.to_path_buf(), String::new())];
        while let Some((folder, prefix)) = folders.pop() {
            let failed = |path: &Path| {
                let path = path.to_path_buf();
                move |source| PromptLibraryError::Read { path, source }
            };
            for entry in fs::read_dir(&folder).map_err(failed(&folder))? {
                let entry = entry.map_err(failed(&folder))?;
                let path = entry.path();
                let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                let meta = fs::metadata(&path).map_err(failed(&path))?;
                if meta.is_dir() && name.split('/').count() < DEPTH_MAX {
                    folders.push((path, format!("{name}/")));
                } else if meta.is_file() && name.ends_with(".wav") {
                    if meta.len() > FILE_BYTES_MAX {
                        return Err(PromptLibraryError::Prompt { name, source: PromptError::TooLong });
                    }
                    self.add(&name, &fs::read(&path).map_err(failed(&path))?)?;
                }
            }
        }
        Ok(())
    }

    pub fn prompt(&self, name: &PromptRef) -> Option<Arc<Prompt>> {
        self.prompts.get(&name.0).cloned()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.prompts.keys().map(|name| &**name)
    }

    fn add(&mut self, path: &str, bytes: &[u8]) -> Result<(), PromptLibraryError> {
        let Some(name) = path.strip_suffix(".wav") else { return Ok(()) };
        if self.prompts.len() == PROMPTS_MAX {
            return Err(PromptLibraryError::TooMany);
        }
        let prompt = Prompt::from_wav(bytes);
        let prompt = prompt.map_err(|source| PromptLibraryError::Prompt { name: path.to_owned(), source })?;
        self.prompts.insert(name.into(), Arc::new(prompt));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_prompts_are_all_playable() {
        let shipped = ivr_scripts::shipped::PROMPTS;
        let files = shipped.iter().map(|(locale, name, wav)| (format!("{locale}/{name}.wav"), *wav));
        let library = PromptLibrary::from_files(files).expect("they are read");
        assert_eq!(library.names().count(), shipped.len());
        let music = library.prompt(&PromptRef("music/default".into())).expect("there is music");
        assert!(music.samples() > 10 * 8_000);
    }

    #[test]
    fn a_folder_adds_to_the_library_and_replaces() {
        let folder = tempfile::tempdir().expect("a folder");
        let wav = ivr_scripts::shipped::prompt("en", "beep").expect("a prompt");
        fs::create_dir_all(folder.path().join("acme/en")).expect("a folder");
        fs::write(folder.path().join("acme/en/hello.wav"), wav).expect("a file");
        fs::write(folder.path().join("notes.txt"), b"no prompt").expect("a file");
        let mut library = PromptLibrary::from_files([("en/beep.wav".to_owned(), wav)]).expect("it is read");
        library.add_dir(folder.path()).expect("it is read");
        assert_eq!(library.names().collect::<Vec<_>>(), ["acme/en/hello", "en/beep"]);
        fs::write(folder.path().join("bad.wav"), b"ID3").expect("a file");
        let error = library.add_dir(folder.path()).expect_err("not a WAV file").to_string();
        assert!(error.contains("bad.wav") && error.contains("not a WAV"), "{error}");
        let error = library.add_dir(&folder.path().join("none")).expect_err("no folder").to_string();
        assert!(error.contains("none"), "{error}");
    }
}
