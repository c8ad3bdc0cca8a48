//! A trace in words, as a supervisor would tell it.

use std::collections::BTreeMap;

use cti_switch::trace::{Choice, Destination, Line, PreferenceEnd, SkipReason, Skipped, TraceEntry};
use cti_switch::{OfferEnd, Outcome};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tongue {
    Chinese,
    English,
}

impl Tongue {
    /// The first of `Accept-Language` (RFC 9110, 12.5.4) that is spoken here; browsers send the most wanted first.
    pub fn of(accept_language: &str) -> Self {
        let mut wanted = accept_language.split(',').map(|range| range.trim().to_ascii_lowercase());
        match wanted.find(|range| range.starts_with("zh") || range.starts_with("en")) {
            Some(range) if range.starts_with("zh") => Self::Chinese,
            Some(_) | None => Self::English,
        }
    }
}

/// One sentence, with its full stop.
pub fn sentence(entry: &TraceEntry, tongue: Tongue) -> String {
    match tongue {
        Tongue::Chinese => chinese(entry),
        Tongue::English => english(entry),
    }
}

fn english(entry: &TraceEntry) -> String {
    match entry {
        TraceEntry::Entered { queue, from, requires, position, staffed, ready, estimate_ms, .. } => {
            let came = from.as_ref().map(|from| format!(" from {from}")).unwrap_or_default();
            let asked = listed(requires, |skill, level| format!("{skill} ≥ {level}"), ", ");
            let asked = if asked.is_empty() { String::new() } else { format!(", asking for {asked}") };
            let wait = estimate_ms.map(|ms| format!("; estimated wait {}", length(ms))).unwrap_or_default();
            let agents = if *staffed == 1 { "agent" } else { "agents" };
            format!(
                "Entered {queue}{came} at place {position}{asked}: {ready} of {staffed} signed-in {agents} ready{wait}."
            )
        }
        TraceEntry::Told { position, wait_ms, .. } => match (position, wait_ms) {
            (Some(place), Some(wait)) => format!("Was told: place {place}, about {} to wait.", length(*wait)),
            (Some(place), None) => format!("Was told: place {place}."),
            (None, Some(wait)) => format!("Was told: about {} to wait.", length(*wait)),
            (None, None) => "Heard an announcement.".into(),
        },
        TraceEntry::Preferred { agent, for_ms: Some(ms) } => {
            format!("Kept for {agent}, whom the caller knows, for {}.", length(*ms))
        }
        TraceEntry::Preferred { agent, for_ms: None } => format!("Waits for {agent} alone."),
        TraceEntry::PreferenceOver { agent, why } => {
            let why = match why {
                PreferenceEnd::Away => "is away",
                PreferenceEnd::Time => "had their time",
                PreferenceEnd::Missed => "did not take it",
            };
            format!("No longer kept for {agent}, who {why}: everybody may be offered the call.")
        }
        TraceEntry::Relaxed { step, over, requires, queues } => {
            let asked = listed(requires, |skill, level| format!("{skill} ≥ {level}"), ", ");
            let asked = if asked.is_empty() { "no skill".into() } else { asked };
            let queues: Vec<&str> = queues.iter().map(|queue| queue.as_str()).collect();
            let why = if *over { "is over: back to" } else { "for the long wait asks for" };
            format!("Relaxing step {step} {why} {asked}, agents of {}.", queues.join(", "))
        }
        TraceEntry::Offered { agent, choice, .. } => {
            format!("Offered to {agent}{}.", why_english(choice))
        }
        TraceEntry::OfferEnded { agent, how, cause, rang_ms, .. } => match how {
            OfferEnd::Accepted => format!("{agent} took the call after {}.", length(*rang_ms)),
            OfferEnd::Rejected => format!("{agent} declined after {}.", length(*rang_ms)),
            OfferEnd::Timeout => format!("{agent} did not answer within {}.", length(*rang_ms)),
            OfferEnd::Withdrawn => format!(
                "The offer to {agent} was taken back after {} ({}).",
                length(*rang_ms),
                cause_word(cause, Tongue::English)
            ),
            OfferEnd::Failed => format!("{agent}'s phone could not be rung ({}).", cause_word(cause, Tongue::English)),
        },
        TraceEntry::Overflowed { queue, why, to, waited_ms } => {
            let after = length(*waited_ms);
            format!("Left {queue} after {after}: {}; went {}.", limit(why, Tongue::English), leads(to, Tongue::English))
        }
        TraceEntry::Moved { queue, to, waited_ms } => {
            format!(
                "Left {queue} after {} by the caller's choice; went {}.",
                length(*waited_ms),
                leads(to, Tongue::English)
            )
        }
        TraceEntry::Answered { agent, waited_ms } => {
            format!("{agent} answered; the caller had waited {}.", length(*waited_ms))
        }
        TraceEntry::Transferred { agent, to } => {
            format!("{agent} handed the call on; it went {}.", leads(to, Tongue::English))
        }
        TraceEntry::Joined { who } => format!("{} joined the call.", party(who)),
        TraceEntry::NotJoined { who, cause } => {
            format!("{} is not on the call ({}).", party(who), cause_word(cause, Tongue::English))
        }
        TraceEntry::BroughtBack { queue, cause } => {
            format!("The call came back to {queue} ({}).", cause_word(cause, Tongue::English))
        }
        TraceEntry::Ended { outcome, cause } => {
            format!(
                "The call ended: {} ({}).",
                outcome_word(*outcome, Tongue::English),
                cause_word(cause, Tongue::English)
            )
        }
    }
}

fn chinese(entry: &TraceEntry) -> String {
    match entry {
        TraceEntry::Entered { queue, from, requires, position, staffed, ready, estimate_ms, .. } => {
            let came = from.as_ref().map(|from| format!("由 {from} 转入，")).unwrap_or_default();
            let asked = listed(requires, |skill, level| format!("{skill} ≥ {level}"), "、");
            let asked = if asked.is_empty() { String::new() } else { format!("，要求 {asked}") };
            let wait = estimate_ms.map(|ms| format!("，预计等待{}", span(ms))).unwrap_or_default();
            format!("{came}进入队列 {queue}，排第 {position} 位{asked}：{staffed} 名签入坐席中 {ready} 名就绪{wait}。")
        }
        TraceEntry::Told { position, wait_ms, .. } => match (position, wait_ms) {
            (Some(place), Some(wait)) => format!("播报：排第 {place} 位，约需等待{}。", span(*wait)),
            (Some(place), None) => format!("播报：排第 {place} 位。"),
            (None, Some(wait)) => format!("播报：约需等待{}。", span(*wait)),
            (None, None) => "播报提示音。".into(),
        },
        TraceEntry::Preferred { agent, for_ms: Some(ms) } => format!("优先留给熟悉的坐席 {agent}，保留{}。", span(*ms)),
        TraceEntry::Preferred { agent, for_ms: None } => format!("只等待坐席 {agent}。"),
        TraceEntry::PreferenceOver { agent, why } => {
            let why = match why {
                PreferenceEnd::Away => "坐席不在",
                PreferenceEnd::Time => "保留时间已到",
                PreferenceEnd::Missed => "坐席未接",
            };
            format!("不再专等 {agent}（{why}），可分配给所有坐席。")
        }
        TraceEntry::Relaxed { step, over, requires, queues } => {
            let asked = listed(requires, |skill, level| format!("{skill} ≥ {level}"), "、");
            let asked = if asked.is_empty() { "不限技能".into() } else { format!("要求 {asked}") };
            let queues: Vec<&str> = queues.iter().map(|queue| queue.as_str()).collect();
            let why = if *over {
                format!("第 {step} 步放宽到期，恢复")
            } else {
                format!("等待过久，第 {step} 步放宽")
            };
            format!("{why}：{asked}，范围 {}。", queues.join("、"))
        }
        TraceEntry::Offered { agent, choice, .. } => format!("分配给 {agent}{}。", why_chinese(choice)),
        TraceEntry::OfferEnded { agent, how, cause, rang_ms, .. } => match how {
            OfferEnd::Accepted => format!("{agent} 振铃{}后接起。", span(*rang_ms)),
            OfferEnd::Rejected => format!("{agent} 振铃{}后拒接。", span(*rang_ms)),
            OfferEnd::Timeout => format!("{agent} 振铃{}无应答。", span(*rang_ms)),
            OfferEnd::Withdrawn => {
                format!("振铃{}后收回对 {agent} 的分配（{}）。", span(*rang_ms), cause_word(cause, Tongue::Chinese))
            }
            OfferEnd::Failed => format!("{agent} 的话机呼叫失败（{}）。", cause_word(cause, Tongue::Chinese)),
        },
        TraceEntry::Overflowed { queue, why, to, waited_ms } => {
            format!(
                "在 {queue} 等待{}后离开：{}，{}。",
                span(*waited_ms),
                limit(why, Tongue::Chinese),
                leads(to, Tongue::Chinese)
            )
        }
        TraceEntry::Moved { queue, to, waited_ms } => {
            format!("在 {queue} 等待{}后，来电者自己选择离开，{}。", span(*waited_ms), leads(to, Tongue::Chinese))
        }
        TraceEntry::Answered { agent, waited_ms } => format!("{agent} 接听，来电者共等待{}。", span(*waited_ms)),
        TraceEntry::Transferred { agent, to } => format!("{agent} 转接了通话，{}。", leads(to, Tongue::Chinese)),
        TraceEntry::Joined { who } => format!("{} 加入通话。", party(who)),
        TraceEntry::NotJoined { who, cause } => {
            format!("{} 未加入或已离开通话（{}）。", party(who), cause_word(cause, Tongue::Chinese))
        }
        TraceEntry::BroughtBack { queue, cause } => {
            format!("转接未成功，回到 {queue}（{}）。", cause_word(cause, Tongue::Chinese))
        }
        TraceEntry::Ended { outcome, cause } => {
            format!("通话结束：{}（{}）。", outcome_word(*outcome, Tongue::Chinese), cause_word(cause, Tongue::Chinese))
        }
    }
}

fn why_english(choice: &Choice) -> String {
    let mut said = vec![format!("{} free of {} able", choice.ready, choice.eligible)];
    said.push(strategy(&choice.strategy, Tongue::English));
    match &choice.line {
        Line::Own => {}
        Line::Also(queue) => said.push(format!("of queue {queue}, asked as well")),
        Line::Lent(queue) => said.push(format!("lent by {queue}")),
        Line::Sticky => said.push("the caller's own agent".into()),
        Line::Direct => said.push("called directly".into()),
    }
    if !choice.steps.is_empty() {
        said.push(format!("relaxed by step {}", numbers(&choice.steps)));
    }
    let skipped = choice.skipped.iter().map(|Skipped { agent, why }| format!("{agent} {}", skip_english(why)));
    let skipped: Vec<String> = skipped.collect();
    let passed = if skipped.is_empty() { String::new() } else { format!("; passed over: {}", skipped.join(", ")) };
    format!(" after {} ({}{passed})", length(choice.waited_ms), said.join(", "))
}

fn why_chinese(choice: &Choice) -> String {
    let mut said = vec![format!("符合条件 {} 人，其中空闲 {} 人", choice.eligible, choice.ready)];
    said.push(strategy(&choice.strategy, Tongue::Chinese));
    match &choice.line {
        Line::Own => {}
        Line::Also(queue) => said.push(format!("来自同时询问的队列 {queue}")),
        Line::Lent(queue) => said.push(format!("由 {queue} 借调")),
        Line::Sticky => said.push("来电者熟悉的坐席".into()),
        Line::Direct => said.push("直呼坐席".into()),
    }
    if !choice.steps.is_empty() {
        said.push(format!("已按第 {} 步放宽", numbers(&choice.steps)));
    }
    let skipped = choice.skipped.iter().map(|Skipped { agent, why }| format!("{agent} {}", skip_chinese(why)));
    let skipped: Vec<String> = skipped.collect();
    let passed = if skipped.is_empty() { String::new() } else { format!("；跳过：{}", skipped.join("、")) };
    format!("，已等待{}（{}{passed}）", span(choice.waited_ms), said.join("，"))
}

fn numbers(all: &[u32]) -> String {
    all.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

fn skip_english(why: &SkipReason) -> String {
    match why {
        SkipReason::Busy => "is busy".into(),
        SkipReason::Break => "is on a break".into(),
        SkipReason::Offline => "is offline".into(),
        SkipReason::NoSkill { skill, has: 0, needs } => format!("lacks {skill} {needs}"),
        SkipReason::NoSkill { skill, has, needs } => format!("has {skill} {has}, {needs} needed"),
        SkipReason::Tried => "was just tried".into(),
        SkipReason::Blocked => "can not be reached or failed too often".into(),
        SkipReason::NotLent => "is not lent now".into(),
    }
}

fn skip_chinese(why: &SkipReason) -> String {
    match why {
        SkipReason::Busy => "忙".into(),
        SkipReason::Break => "小休".into(),
        SkipReason::Offline => "离线".into(),
        SkipReason::NoSkill { skill, has: 0, needs } => format!("无技能 {skill} {needs}"),
        SkipReason::NoSkill { skill, has, needs } => format!("技能 {skill} 为 {has}，需 {needs}"),
        SkipReason::Tried => "刚试过".into(),
        SkipReason::Blocked => "联系不上或多次失败".into(),
        SkipReason::NotLent => "当前不外借".into(),
    }
}

/// A strategy's word likewise.
fn strategy(word: &str, tongue: Tongue) -> String {
    let (english, chinese) = match word {
        "longest_idle" => ("the longest idle", "空闲最久"),
        "round_robin" => ("the next in turn", "轮到"),
        "least_calls" => ("the fewest calls today", "今日接听最少"),
        "least_talk_time" => ("the least talk time today", "今日通话时间最少"),
        "top_down" => ("the first in the list", "列表中最前"),
        "random" => ("by lot", "随机"),
        "ring_all" => ("all are rung at once", "同时振铃"),
        "best_skill" => ("the best skilled", "技能最高"),
        "scored" => ("the highest score", "得分最高"),
        other => (other, other),
    };
    match tongue {
        Tongue::Chinese => chinese.to_owned(),
        Tongue::English => english.to_owned(),
    }
}

/// Why something ended; a SIP status stays as it is.
fn cause_word(cause: &str, tongue: Tongue) -> &str {
    let (english, chinese) = match cause {
        "caller_hangup" => ("the caller hung up", "来电者挂机"),
        "agent_hangup" => ("the agent hung up", "坐席挂机"),
        "no_answer" => ("no answer", "无应答"),
        "answered_elsewhere" => ("another agent answered", "其他坐席已接听"),
        "moved_on" => ("the call was passed on", "来电已转走"),
        "call_over" => ("the call was over", "通话已结束"),
        "agent_removed" => ("the agent was taken out of use", "坐席已停用"),
        "no_media_port" => ("no media port was free", "无可用媒体端口"),
        "unreachable" => ("the phone was not registered", "话机未注册"),
        "completed" => ("the menu was done", "菜单已完成"),
        "transferred" => ("the call was handed on", "已转接"),
        "cancelled" => ("the consultation was cancelled", "咨询已取消"),
        "486" | "600" | "603" => ("busy or refused", "忙或拒接"),
        "rejected" => ("declined", "拒绝"),
        "shutdown" => ("the server was shut down", "服务器关闭"),
        "restart" => ("the server was started again", "服务器重启"),
        other => (other, other),
    };
    match tongue {
        Tongue::Chinese => chinese,
        Tongue::English => english,
    }
}

/// Who was asked to join.
fn party(who: &Destination) -> String {
    match who {
        Destination::Agent(agent) => agent.to_string(),
        Destination::Number(number) | Destination::Ivr(number) => number.clone(),
        Destination::Queue(queue) => queue.to_string(),
        Destination::Voicemail | Destination::Callback | Destination::Busy | Destination::Goodbye => String::new(),
    }
}

/// A limit's word as a sentence's part; a word that is not known stays as it is.
fn limit(why: &str, tongue: Tongue) -> String {
    let (english, chinese) = match why {
        "overflow" | "after_s" | "after" => ("the queue's time to pass on was over", "已到溢出时间"),
        "max_wait" | "max_wait_s" => ("the longest wait was over", "已到最长等待时间"),
        "max_waiting" | "full" => ("the queue was full", "队列已满"),
        "waiting" => ("too many were waiting", "排队人数过多"),
        "estimate" | "estimate_s" => ("the wait would have been too long", "预计等待过长"),
        "no_staff" => ("nobody was on duty", "无人值守"),
        "transfer_refused" => ("the agent it was handed to did not take it", "被转接的坐席未接听"),
        "hours" | "closed" => ("outside of opening hours", "非工作时间"),
        "holiday" => ("a holiday", "节假日"),
        "agent_removed" => ("the agent asked for was taken out of use", "所找的坐席已停用"),
        "emergency" => ("the emergency switch was on", "应急开关已开启"),
        "queue_removed" | "gone" => ("the queue was taken out of use", "队列已停用"),
        "ivr_removed" => ("the menu was taken out of use", "菜单已停用"),
        "overflow_limit" => ("it had been passed on too often", "转移次数过多"),
        other => (other, other),
    };
    match tongue {
        Tongue::Chinese => chinese.to_owned(),
        Tongue::English => english.to_owned(),
    }
}

fn leads(to: &Destination, tongue: Tongue) -> String {
    let (english, chinese) = match to {
        Destination::Queue(queue) => (format!("on to queue {queue}"), format!("转到队列 {queue}")),
        Destination::Ivr(ivr) => (format!("on to menu {ivr}"), format!("转到菜单 {ivr}")),
        Destination::Agent(agent) => (format!("on to agent {agent}"), format!("转到坐席 {agent}")),
        Destination::Number(number) => (format!("out to {number}"), format!("转到外线 {number}")),
        Destination::Voicemail => ("to voicemail".into(), "转到语音信箱".into()),
        Destination::Callback => ("to wait for a callback".into(), "改为等待回呼".into()),
        Destination::Busy => ("no further: busy".into(), "不再转移，回忙音".into()),
        Destination::Goodbye => ("no further: said goodbye".into(), "不再转移，致歉后结束".into()),
    };
    match tongue {
        Tongue::Chinese => chinese,
        Tongue::English => english,
    }
}

fn outcome_word(outcome: Outcome, tongue: Tongue) -> &'static str {
    let (english, chinese) = match outcome {
        Outcome::Answered => ("answered", "已接听"),
        Outcome::AbandonedIvr => ("the caller hung up in the menu", "来电者在菜单中挂机"),
        Outcome::AbandonedQueue => ("the caller hung up while waiting", "来电者排队时挂机"),
        Outcome::AbandonedRinging => ("the caller hung up while an agent was rung", "来电者在坐席振铃时挂机"),
        Outcome::Overflowed => ("left its queue by a limit", "因队列限制离开"),
        Outcome::Voicemail => ("left a message", "已留言"),
        Outcome::Callback => ("left for a callback", "改为回呼"),
        Outcome::Rejected => ("rejected", "被拒绝"),
        Outcome::Failed => ("failed", "失败"),
        Outcome::Interrupted => ("interrupted", "被中断"),
        Outcome::CompletedIvr => ("done in the menu", "在菜单中完成"),
        Outcome::NoAnswer => ("no answer", "无人接听"),
        Outcome::Busy => ("busy", "忙线"),
    };
    match tongue {
        Tongue::Chinese => chinese,
        Tongue::English => english,
    }
}

fn listed(requires: &BTreeMap<String, u8>, one: impl Fn(&str, u8) -> String, between: &str) -> String {
    requires.iter().map(|(skill, level)| one(skill, *level)).collect::<Vec<_>>().join(between)
}

/// `0 s`, `45 s`, `2 min`, `2 min 5 s`.
fn length(ms: u64) -> String {
    let seconds = (ms + 500) / 1_000;
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, 0) => format!("{minutes} min"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

/// The same with a space before it, as Chinese text sets numbers off.
fn span(ms: u64) -> String {
    let seconds = (ms + 500) / 1_000;
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!(" {seconds} 秒"),
        (minutes, 0) => format!(" {minutes} 分钟"),
        (minutes, seconds) => format!(" {minutes} 分 {seconds} 秒"),
    }
}

#[cfg(test)]
mod tests {
    use cti_base::{OfferId, Rng, Timestamp};

    use super::*;

    /// A call that relaxed twice and overflowed.
    fn story() -> Vec<TraceEntry> {
        let offer = OfferId::new(Timestamp::from_millis(1), &mut Rng::from_number(1));
        let requires = |level| BTreeMap::from([("repair".to_owned(), level)]);
        let choice = Choice {
            strategy: "best_skill".into(),
            ready: 1,
            eligible: 3,
            position: 1,
            waited_ms: 65_000,
            steps: vec![1, 2],
            skipped: vec![
                Skipped { agent: "1002".into(), why: SkipReason::NoSkill { skill: "repair".into(), has: 0, needs: 1 } },
                Skipped { agent: "1003".into(), why: SkipReason::Tried },
            ],
            ..Choice::default()
        };
        vec![
            TraceEntry::Entered {
                queue: "repair".into(),
                from: None,
                priority: 0,
                requires: requires(3),
                position: 2,
                waiting: 2,
                staffed: 4,
                ready: 0,
                estimate_ms: Some(90_000),
                estimator: Some("naive".into()),
            },
            TraceEntry::Told { position: Some(2), wait_ms: Some(90_000), estimator: None },
            TraceEntry::Relaxed { step: 1, over: false, requires: requires(1), queues: vec!["repair".into()] },
            TraceEntry::Relaxed {
                step: 2,
                over: false,
                requires: BTreeMap::new(),
                queues: vec!["repair".into(), "general".into()],
            },
            TraceEntry::Offered { offer, agent: "1001".into(), queue: "repair".into(), choice },
            TraceEntry::OfferEnded {
                offer,
                agent: "1001".into(),
                how: OfferEnd::Timeout,
                cause: "no_answer".into(),
                rang_ms: 15_000,
            },
            TraceEntry::Overflowed {
                queue: "repair".into(),
                why: "after_s".into(),
                to: Destination::Queue("general".into()),
                waited_ms: 120_000,
            },
        ]
    }

    #[test]
    fn a_trace_reads_like_a_story_in_english() {
        let told: Vec<String> = story().iter().map(|entry| sentence(entry, Tongue::English)).collect();
        let expect = [
            "Entered repair at place 2, asking for repair ≥ 3: 0 of 4 signed-in agents ready; estimated wait 1 min 30 s.",
            "Was told: place 2, about 1 min 30 s to wait.",
            "Relaxing step 1 for the long wait asks for repair ≥ 1, agents of repair.",
            "Relaxing step 2 for the long wait asks for no skill, agents of repair, general.",
            "Offered to 1001 after 1 min 5 s (1 free of 3 able, the best skilled, relaxed by step 1, 2; passed \
             over: 1002 lacks repair 1, 1003 was just tried).",
            "1001 did not answer within 15 s.",
            "Left repair after 2 min: the queue's time to pass on was over; went on to queue general.",
        ];
        assert_eq!(told, expect);
    }

    #[test]
    fn a_trace_reads_like_a_story_in_chinese() {
        let told: Vec<String> = story().iter().map(|entry| sentence(entry, Tongue::Chinese)).collect();
        let expect = [
            "进入队列 repair，排第 2 位，要求 repair ≥ 3：4 名签入坐席中 0 名就绪，预计等待 1 分 30 秒。",
            "播报：排第 2 位，约需等待 1 分 30 秒。",
            "等待过久，第 1 步放宽：要求 repair ≥ 1，范围 repair。",
            "等待过久，第 2 步放宽：不限技能，范围 repair、general。",
            "分配给 1001，已等待 1 分 5 秒（符合条件 3 人，其中空闲 1 人，技能最高，已按第 1, 2 步放宽；跳过：1002 无技能 \
             repair 1、1003 刚试过）。",
            "1001 振铃 15 秒无应答。",
            "在 repair 等待 2 分钟后离开：已到溢出时间，转到队列 general。",
        ];
        assert_eq!(told, expect);
    }

    #[test]
    fn the_language_is_the_first_that_is_spoken() {
        let check = |accept: &str, expect: Tongue| assert_eq!(Tongue::of(accept), expect, "{accept}");
        check("zh-CN,zh;q=0.9,en;q=0.8", Tongue::Chinese);
        check("en-US,en;q=0.9,zh-CN;q=0.8", Tongue::English);
        check("de, zh-TW;q=0.5", Tongue::Chinese);
        check("", Tongue::English);
    }
}
