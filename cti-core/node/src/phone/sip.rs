//! A call from its INVITE to its end.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use bytes::Bytes;
use cti_base::Timestamp;
use cti_media::sdp::{self, Local};
use cti_media::{Codec, Direction as Flowing, LegMedia};
use cti_sip::{EndCause, Event, InboundInvite, InviteRequest, SessionId};

use super::audio::Audio;
use super::timers::Due;
use super::worker::{Call, Phase, Worker};
use super::{Answer, CALLS_MAX, CallNumber, CallPlan, CallReport, Direction, Line, Outcome, PhoneEvent};

/// Keys of the other side that a report keeps.
const HEARD_DIGITS_MAX: usize = 256;

impl Worker {
    pub(crate) fn dial(&mut self, now: Timestamp, number: CallNumber, plan: CallPlan) {
        self.count(|figures| {
            figures.calls += 1;
            figures.active += 1;
        });
        let CallPlan { line, to, from, credentials, ring_max, script } = plan;
        let peer = user_of(&to);
        let media_ip = self.lines[line].media_ip;
        let full = self.calls.len() >= CALLS_MAX || self.stop_at.is_some();
        let audio = if full {
            None
        } else {
            Audio::bind(media_ip, script.sound.clone(), script.save.is_some(), &mut self.rng).ok()
        };
        let state = &mut self.lines[line];
        let (Some(audio), Some(target)) = (audio, state.endpoint.target_of(&to)) else {
            // What is wrong is here and not there: no port, or no address in the URI.
            let code = if full { 503 } else { 400 };
            return self.report(never_begun(number, line, Direction::Out, peer, Outcome::Failed { code }));
        };
        let offer = sdp::offer(&local_of(number, &audio, 1), Codec::Pcma, Flowing::SendRecv);
        let request = InviteRequest {
            target,
            from_display: None,
            from_user: from.unwrap_or_else(|| state.config.user.clone()),
            offer,
            headers: Vec::new(),
            credentials,
        };
        let session = state.endpoint.invite(now, request);
        if let Some(ring_max) = ring_max {
            self.timers.set(Due::GiveUp(number), Some(now + ring_max));
        }
        let call = Call {
            line,
            session,
            direction: Direction::Out,
            peer,
            phase: Phase::Dialling,
            script,
            audio,
            connected: false,
            sdp_version: 1,
            offer: None,
            began: now,
            answered: None,
            digits: String::new(),
            ended_here: false,
        };
        self.by_session.insert((line, session), number);
        self.calls.insert(number, call);
        self.settle(now, line);
    }

    /// Answers a call that rings.
    pub(crate) fn answer(&mut self, now: Timestamp, number: CallNumber) {
        let Some(call) = self.calls.get_mut(&number).filter(|call| call.phase == Phase::Ringing) else { return };
        let local = local_of(number, &call.audio, call.sdp_version);
        let answer = match call.offer.take() {
            Some(offer) => sdp::answer(&offer, &local, Flowing::SendRecv).map(|(answer, media)| (answer, Some(media))),
            None => Ok((sdp::offer(&local, Codec::Pcma, Flowing::SendRecv), None)),
        };
        let (line, session) = (call.line, call.session);
        match answer {
            Ok((answer, media)) => {
                call.phase = Phase::Up;
                self.lines[line].endpoint.accept(now, session, answer);
                if let Some(media) = media {
                    self.connect(now, number, media);
                }
                self.begin_script(now, number);
            }
            Err(error) => {
                tracing::debug!(%error, "the phone refuses a session description");
                const NOT_ACCEPTABLE_HERE: u16 = 488;
                self.lines[line].endpoint.reject(now, session, NOT_ACCEPTABLE_HERE);
                self.finish(now, number, Outcome::Failed { code: NOT_ACCEPTABLE_HERE }, false);
            }
        }
        self.settle(now, line);
    }

    pub(crate) fn hang_up(&mut self, now: Timestamp, number: CallNumber) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        if call.phase == Phase::Ending {
            return;
        }
        let (line, session, was) = (call.line, call.session, call.phase);
        call.ended_here = true;
        call.phase = Phase::Ending;
        match was {
            Phase::Ringing => {
                const BUSY_HERE: u16 = 486;
                self.lines[line].endpoint.reject(now, session, BUSY_HERE);
                self.finish(now, number, Outcome::Failed { code: BUSY_HERE }, false);
            }
            Phase::Dialling | Phase::Up | Phase::Ending => self.lines[line].endpoint.hangup(now, session, None),
        }
        self.settle(now, line);
    }

    pub(crate) fn on_event(&mut self, now: Timestamp, line: Line, event: Event) {
        match event {
            Event::Invite { session, invite } => self.incoming(now, line, session, *invite),
            Event::Cancelled { session } => self.ended(now, line, session, Outcome::Cancelled, true),
            Event::Confirmed { session, answer } => {
                if let Some(answer) = answer {
                    self.take_answer(now, line, session, &answer);
                }
            }
            Event::Progress { session, sdp, .. } => {
                if let Some(sdp) = sdp {
                    self.take_answer(now, line, session, &sdp);
                }
                if let Some(call) = self.number(line, session) {
                    self.emit(PhoneEvent::Ringing { call });
                }
            }
            Event::Answered { session, sdp } => self.answered(now, line, session, sdp),
            Event::Failed { session, code, .. } => {
                let ours = self.number(line, session).and_then(|n| self.calls.get(&n)).is_some_and(|c| c.ended_here);
                let outcome = if ours { Outcome::Cancelled } else { Outcome::Failed { code } };
                self.ended(now, line, session, outcome, !ours);
            }
            Event::Reoffer { session, sdp } => self.reoffered(now, line, session, sdp),
            Event::Reanswered { .. } => {}
            Event::Refer { session, refer: _ } => self.lines[line].endpoint.answer_refer(now, session, 603),
            Event::InfoDigit { session, digit } => {
                if let Some(call) = self.number(line, session) {
                    self.heard_digit(call, digit);
                }
            }
            Event::Notify { session, event } => {
                if event == "talk"
                    && let Some(call) = self.number(line, session)
                {
                    self.answer(now, call);
                }
            }
            Event::Ended { session, cause } => {
                let (outcome, by_peer) = match cause {
                    EndCause::Bye { .. } => (Outcome::Answered, true),
                    EndCause::Local => (Outcome::Answered, false),
                    EndCause::NoAck | EndCause::Gone => (Outcome::Failed { code: 408 }, true),
                };
                self.ended(now, line, session, outcome, by_peer);
            }
            Event::Registered { .. } | Event::Probed { .. } | Event::Unauthorized { .. } | Event::Rejected { .. } => {}
            Event::RegisterResult { registration, result } => {
                let first = matches!(result, Ok(1..)) && !std::mem::replace(&mut self.lines[line].registered, true);
                self.count(|figures| {
                    figures.registered += u64::from(first);
                    figures.register_failed += u64::from(result.is_err());
                });
                if self.stop_at.is_some() && self.lines[line].registration == Some(registration) {
                    self.lines[line].registration = None;
                }
                self.emit(PhoneEvent::Registered { line, result });
            }
        }
    }

    pub(crate) fn heard_digit(&mut self, number: CallNumber, digit: char) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        if call.digits.len() < HEARD_DIGITS_MAX {
            call.digits.push(digit);
        }
        self.emit(PhoneEvent::Digit { call: number, digit });
    }

    /// The thread ends: what is left of the calls is told.
    pub(crate) fn abandon_calls(&mut self) {
        let now = crate::clock::now();
        for number in self.calls.keys().copied().collect::<Vec<_>>() {
            let outcome = match self.calls.get(&number).and_then(|call| call.answered) {
                Some(_) => Outcome::Answered,
                None => Outcome::Cancelled,
            };
            self.finish(now, number, outcome, false);
        }
    }

    fn incoming(&mut self, now: Timestamp, line: Line, session: SessionId, invite: InboundInvite) {
        const BUSY_HERE: u16 = 486;
        let number = CallNumber(self.numbers.fetch_add(1, Ordering::Relaxed));
        let peer = invite.from.user.expose().clone();
        self.count(|figures| {
            figures.calls += 1;
            figures.active += 1;
        });
        let state = &mut self.lines[line];
        let busy =
            state.incoming >= state.config.incoming_max || self.calls.len() >= CALLS_MAX || self.stop_at.is_some();
        let script = state.config.script.clone();
        let audio = Audio::bind(state.media_ip, script.sound.clone(), script.save.is_some(), &mut self.rng);
        let refused = match (&state.config.answer, audio) {
            (Answer::Reject(code), _) => Err(*code),
            (Answer::After(_) | Answer::Manual, _) if busy => Err(BUSY_HERE),
            (Answer::After(_) | Answer::Manual, Err(_)) => Err(500),
            (Answer::After(span), Ok(audio)) => Ok((audio, Some(span.draw(&mut self.rng)))),
            (Answer::Manual, Ok(audio)) => Ok((audio, None)),
        };
        let (audio, wait) = match refused {
            Ok(taken) => taken,
            Err(code) => {
                state.endpoint.reject(now, session, code);
                return self.report(never_begun(number, line, Direction::In, peer, Outcome::Failed { code }));
            }
        };
        state.incoming += 1;
        let call = Call {
            line,
            session,
            direction: Direction::In,
            peer: peer.clone(),
            phase: Phase::Ringing,
            script,
            audio,
            connected: false,
            sdp_version: 1,
            offer: invite.offer,
            began: now,
            answered: None,
            digits: String::new(),
            ended_here: false,
        };
        self.by_session.insert((line, session), number);
        self.calls.insert(number, call);
        self.emit(PhoneEvent::Incoming { line, call: number, from: peer });
        match wait {
            Some(wait) if wait.is_zero() => self.answer(now, number),
            Some(wait) => {
                self.lines[line].endpoint.ring(now, session, None);
                self.timers.set(Due::Answer(number), Some(now + wait));
            }
            None => self.lines[line].endpoint.ring(now, session, None),
        }
    }

    fn answered(&mut self, now: Timestamp, line: Line, session: SessionId, sdp: Option<Bytes>) {
        let Some(number) = self.number(line, session) else { return };
        if let Some(sdp) = sdp {
            self.take_answer(now, line, session, &sdp);
        }
        let Some(call) = self.calls.get_mut(&number).filter(|call| call.phase == Phase::Dialling) else { return };
        call.phase = Phase::Up;
        let connected = call.connected;
        self.timers.set(Due::GiveUp(number), None);
        self.begin_script(now, number);
        if !connected {
            tracing::debug!("the answer has no audio that the phone can use");
            self.hang_up(now, number);
        }
    }

    fn begin_script(&mut self, now: Timestamp, number: CallNumber) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        call.answered = Some(now);
        let hangup = call.script.hangup_after;
        let press = call.script.digits.as_ref().map(|(after, _)| now + *after);
        self.timers.set(Due::Press(number), press);
        let hangup = hangup.map(|span| now + span.draw(&mut self.rng));
        self.timers.set(Due::Hangup(number), hangup);
        self.emit(PhoneEvent::Answered { call: number });
    }

    fn reoffered(&mut self, now: Timestamp, line: Line, session: SessionId, offer: Option<Bytes>) {
        let Some(number) = self.number(line, session) else { return };
        let Some(call) = self.calls.get_mut(&number) else { return };
        call.sdp_version += 1;
        let local = local_of(number, &call.audio, call.sdp_version);
        let endpoint = &mut self.lines[line].endpoint;
        match offer.map(|offer| sdp::answer(&offer, &local, Flowing::SendRecv)) {
            Some(Ok((answer, media))) => {
                endpoint.accept_reoffer(now, session, answer);
                self.connect(now, number, media);
            }
            Some(Err(_)) => endpoint.reject_reoffer(now, session, 488),
            None => endpoint.accept_reoffer(now, session, sdp::offer(&local, Codec::Pcma, Flowing::SendRecv)),
        }
    }

    fn take_answer(&mut self, now: Timestamp, line: Line, session: SessionId, answer: &[u8]) {
        let Some(number) = self.number(line, session) else { return };
        match sdp::read_answer(answer) {
            Ok(media) => self.connect(now, number, media),
            Err(error) => tracing::debug!(%error, "the phone can not use an answer"),
        }
    }

    fn connect(&mut self, now: Timestamp, number: CallNumber, media: LegMedia) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        call.audio.connect(media);
        if !std::mem::replace(&mut call.connected, true) {
            self.audible += 1;
            self.tick_at.get_or_insert(now);
        }
    }

    fn ended(&mut self, now: Timestamp, line: Line, session: SessionId, outcome: Outcome, by_peer: bool) {
        if let Some(number) = self.number(line, session) {
            self.finish(now, number, outcome, by_peer);
        }
    }

    fn finish(&mut self, now: Timestamp, number: CallNumber, outcome: Outcome, by_peer: bool) {
        let Some(mut call) = self.calls.remove(&number) else { return };
        self.by_session.remove(&(call.line, call.session));
        self.timers.forget(number);
        self.audible -= usize::from(call.connected);
        if call.direction == Direction::In {
            self.lines[call.line].incoming -= 1;
        }
        if let Some(path) = &call.script.save {
            self.saved += 1;
            let path = numbered(path, self.saved);
            if let Err(error) = call.audio.save(&path) {
                tracing::error!(path = %path.display(), %error, "what was heard could not be saved");
            }
        }
        // A call that ended before anyone answered it was given up, whoever ended it.
        let outcome =
            if outcome == Outcome::Answered && call.answered.is_none() { Outcome::Cancelled } else { outcome };
        self.report(CallReport {
            call: number,
            line: call.line,
            direction: call.direction,
            peer: call.peer,
            outcome,
            setup_ms: call.answered.map(|at| at.since(call.began).as_secs_f64() * 1_000.0),
            talk_ms: call.answered.map_or(0, |at| now.since(at).as_millis() as u64),
            packets_in: call.audio.packets_in(),
            packets_out: call.audio.packets_out,
            packets_lost: call.audio.packets_lost(),
            digits: call.digits,
            ended_by_peer: by_peer,
        });
    }

    fn report(&mut self, report: CallReport) {
        self.count(|figures| {
            figures.active = figures.active.saturating_sub(1);
            figures.add(&report);
        });
        self.emit(PhoneEvent::Ended { call: report.call, report: Box::new(report) });
    }

    fn number(&self, line: Line, session: SessionId) -> Option<CallNumber> {
        self.by_session.get(&(line, session)).copied()
    }
}

fn local_of(number: CallNumber, audio: &Audio, version: u64) -> Local {
    Local { rtp: audio.local(), session_id: number.0, version, srtp: None, wideband: false, webrtc: None }
}

fn never_begun(call: CallNumber, line: Line, direction: Direction, peer: String, outcome: Outcome) -> CallReport {
    CallReport {
        call,
        line,
        direction,
        peer,
        outcome,
        setup_ms: None,
        talk_ms: 0,
        packets_in: 0,
        packets_out: 0,
        packets_lost: 0,
        digits: String::new(),
        ended_by_peer: false,
    }
}

/// The user part of a SIP URI, for reports.
fn user_of(uri: &str) -> String {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    rest.split_once('@').map_or("", |(user, _)| user).to_owned()
}

/// `f.wav` for the first call, `f-2.wav` for the second.
fn numbered(path: &Path, count: u64) -> PathBuf {
    if count == 1 {
        return path.to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map_or(String::new(), |ext| format!(".{}", ext.to_string_lossy()));
    path.with_file_name(format!("{stem}-{count}{extension}"))
}
