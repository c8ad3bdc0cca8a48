//! What the agent hears before the caller is joined: a tone where the phone answered by itself, whose caller it is, how long
//! they waited. The caller hears music until then.

use cti_base::{CallId, Timestamp};
use cti_media::{Audio, MediaCommand, PlayId, PromptRef};
use ivr_scripts::announce;

use crate::config::QueueDecl;
use crate::engine::Engine;
use crate::limits::{WHISPER_MAX, ZIP_TONE_HZ, ZIP_TONE_MS};
use crate::timer::{CallTimer, Timer};

impl Engine {
    /// Begins it; `false` where there is nothing to be heard.
    pub(super) fn whisper(&mut self, now: Timestamp, id: CallId, decl: &QueueDecl) -> bool {
        let Some(call) = self.calls.get_mut(&id) else { return false };
        let waited = call.answered.unwrap_or(now).since(call.queued.unwrap_or(now));
        let prompts = decl.whisper.prompts.iter().map(String::as_str);
        let wait = if decl.whisper.wait { announce::waited(&call.locale, waited) } else { Vec::new() };
        let names = prompts.chain(wait);
        let spoken = names.map(|name| Audio::Prompt(PromptRef(format!("{}/{name}", call.locale).into())));
        let tone = decl.auto_answer.then_some(Audio::Tone { hz: ZIP_TONE_HZ, ms: ZIP_TONE_MS });
        let audio: Vec<Audio> = tone.into_iter().chain(spoken).collect();
        if audio.is_empty() {
            return false;
        }
        call.plays += 1;
        let play = PlayId(call.plays);
        let Some(talking) = call.talking_mut() else { return false };
        talking.whisper = Some(play);
        let leg = talking.leg.id;
        self.timers.set(Timer::Call(id, CallTimer::Whisper), now + WHISPER_MAX);
        self.media(id, MediaCommand::Play { leg, play, audio, repeat: false });
        true
    }

    /// The agent has heard it: caller and agent hear each other. Nothing where they do already.
    pub(crate) fn join(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(talking) = call.talking_mut() else { return };
        if talking.whisper.take().is_none() {
            return;
        }
        let agent = talking.leg.id;
        self.timers.cancel(&Timer::Call(id, CallTimer::Whisper));
        self.media(id, MediaCommand::Stop { leg: agent });
        self.arrange(id);
    }
}
