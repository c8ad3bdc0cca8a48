//! Every limit of the switch, by name. What is longer than a limit is refused or cut where the doc says so.

use std::time::Duration;

/// Lines of one `[[hours]]` entry.
pub const HOURS_SPANS_MAX: usize = 64;
pub const HOURS_CLOSED_MAX: usize = 256;

/// Entries of each list of a tenant's file.
pub const TENANT_ENTRIES_MAX: usize = 10_000;

/// Tenants of one engine.
pub const TENANTS_MAX: usize = 1_000;

/// How long an offer waits for what the records know of the caller.
pub const RECORDS_WAIT: Duration = Duration::from_millis(30);
/// How long records that did not answer in time are not waited for.
pub const RECORDS_PAUSE: Duration = Duration::from_secs(5);
/// How long a phone's INVITE waits for the offer's frame to be handed to the desk's socket.
pub const OFFER_SHOWN_WAIT: Duration = Duration::from_millis(20);

/// Agents who are rung at once with one call.
pub const RING_ALL_MAX: usize = cti_acd::limits::RING_ALL_MAX;
/// How long an `always_ready` agent's break for no answer lasts.
pub const NO_ANSWER_BREAK: Duration = Duration::from_secs(60);
/// An agent with this many failed offers within `FAILED_OFFERS_WINDOW` is offered none until the oldest is older.
pub const FAILED_OFFERS_MAX: usize = 4;
pub const FAILED_OFFERS_WINDOW: Duration = Duration::from_secs(60);
/// When an offer that found no free port is tried again: soon enough for the 200 ms in which a free agent is to be rung.
pub const NO_PORT_RETRY: Duration = Duration::from_millis(100);

/// Phones that ring beside a call's first take no legs beyond this part of all: a half.
pub const EXTRA_PHONES_PART: usize = 2;

/// How long an agent whose desk is gone may still be offered calls (desktop.md, 8).
pub const DESK_GRACE: Duration = Duration::from_secs(25);
/// How long a call waits for the browser of its agent, which is not connected any more.
pub const BROWSER_AWAY_MAX: Duration = Duration::from_secs(60);
/// The least extension of a wrap-up, and how often one wrap-up may be extended.
pub const WRAPUP_EXTENSION_MIN: Duration = Duration::from_secs(30);
pub const WRAPUP_EXTENSIONS_MAX: u32 = 3;

/// Comfort messages of one queue, and prompts of one of them or of a whisper.
pub const COMFORTS_MAX: usize = 16;
pub const PROMPTS_MAX: usize = 16;

/// The tone before an automatic answer's caller, and the longest that an agent hears something before the caller is joined.
pub const ZIP_TONE_HZ: u16 = 440;
pub const ZIP_TONE_MS: u16 = 300;
pub const WHISPER_MAX: Duration = Duration::from_secs(20);

/// How long somebody who is asked to join a call is rung, or a number that a call is handed to.
pub const GUEST_RING: Duration = Duration::from_secs(30);
/// The customer, the agent and the others of one call; those who listen to it come on top.
pub const PARTIES_MAX: usize = 8;
pub const SUPERVISORS_MAX: usize = 2;

/// How often a call may be passed on by a queue's limits before it is said goodbye to.
pub const OVERFLOWS_MAX: u32 = 8;
/// Outside numbers that a call was sent to in vain; none is dialled twice for it.
pub const UNREACHED_MAX: usize = OVERFLOWS_MAX as usize;
/// The longest that a goodbye prompt may play before the caller is hung up on.
pub const GOODBYE_MAX: Duration = Duration::from_secs(20);

/// The longest that a voicemail's prompt may play, and the shortest message that is one.
pub const VOICEMAIL_PROMPT_MAX: Duration = Duration::from_secs(20);
pub const VOICEMAIL_MIN: Duration = Duration::from_secs(1);
/// How long a message may be, and how much silence may end it, seconds.
pub const VOICEMAIL_S: std::ops::RangeInclusive<u32> = 5..=600;
pub const VOICEMAIL_SILENCE_S: std::ops::RangeInclusive<u32> = 2..=60;

/// A program that was down for longer than this ends its calls instead of taking them up: nobody is on the line any more.
pub const TAKE_UP_MAX: Duration = Duration::from_secs(300);
/// While there are calls something is noted at least this often, so that it can be told how long a stop was.
pub const PULSE: Duration = Duration::from_secs(1);

/// How long a call's record waits for the counts of its closed legs.
pub const STATS_WAIT: Duration = Duration::from_millis(200);

/// Entries of one call's trace, and how many of those that repeat (announcements, offers) may come before.
pub const TRACE_MAX: u32 = 120;
pub const TRACE_REPEATED_MAX: u32 = 90;

/// What one call's record keeps; further entries are not kept.
pub const PATH_MAX: usize = 200;
pub const SEGMENTS_MAX: usize = 200;
pub const LEGS_PER_CALL_MAX: usize = 32;
pub const GAPS_MAX: usize = 32;
pub const VARS_MAX: usize = 32;
pub const VAR_LEN_MAX: usize = 256;
/// A caller's number or a dialled one, in bytes; the rest is cut off.
pub const NUMBER_LEN_MAX: usize = 64;
/// The reason an agent gives, in bytes.
pub const REASON_LEN_MAX: usize = 64;

/// Callbacks of one tenant that are not over.
pub const CALLBACKS_MAX: usize = 10_000;
/// How far ahead a callback may be scheduled, and how long one is tried for after its time.
pub const CALLBACK_AHEAD_MAX: Duration = Duration::from_secs(90 * 86_400);
pub const CALLBACK_LIFE_MAX: Duration = Duration::from_secs(3 * 86_400);
/// When a callback whose turn has come and that can not be dialled for want of room is tried again.
pub const CALLBACK_AGAIN: Duration = Duration::from_secs(1);
/// How long a trunk's host that did not answer comes after the others.
pub const TRUNK_HOST_DOWN: Duration = Duration::from_secs(30);

/// How often a trunk's hosts may be asked whether they are there, seconds.
pub const OPTIONS_S: std::ops::RangeInclusive<u32> = 5..=3_600;
/// How long a trunk's registration may be asked for, seconds.
pub const REGISTER_S: std::ops::RangeInclusive<u32> = 30..=86_400;
/// A registration that no host took is tried again after this, doubling up to `REGISTER_AGAIN_MAX`.
pub const REGISTER_AGAIN: Duration = Duration::from_secs(5);
pub const REGISTER_AGAIN_MAX: Duration = Duration::from_secs(120);
/// A host that did not answer is asked again after this, doubling up to its usual time.
pub const PROBE_AGAIN: Duration = Duration::from_secs(5);
/// The hosts of a declaration are asked one after the other, so far apart.
pub const PROBE_APART: Duration = Duration::from_millis(100);

/// Keys of one command.
pub const KEYS_MAX: usize = 32;

/// Alarms shown at once, and how long one stays after it was last raised.
pub const ALARMS_MAX: usize = 16;
pub const ALARM_STAY: Duration = Duration::from_secs(300);
