//! A tenant's file.

use std::collections::BTreeMap;

use cti_base::AgentName;
use cti_sip::Account;
use cti_switch::config::{Tenant, TenantDoc};
use serde_json::{Value, json};

use super::{CallbackSettings, OrderSettings, Profile, QueueSettings, REALM};

const SCRIPT: &str = r#"
[script]
name = "main"
start = "welcome"

[[node]]
name = "welcome"
kind = "play"
prompts = ["welcome"]
then = "menu"

[[node]]
name = "menu"
kind = "menu"
prompts = ["main_menu"]
timeout_s = 3
silence = { prompts = "silence", repeat = 1, then = "general" }
invalid = { prompts = "invalid", repeat = 2, then = "bye" }
[node.digits]
1 = "general"
2 = "repair"
3 = "number"
9 = "bye"

[[node]]
name = "number"
kind = "collect"
prompts = ["enter"]
into = "serial"
max_digits = 4
silence = { prompts = "silence", repeat = 1, then = "general" }
invalid = { prompts = "invalid", repeat = 1, then = "general" }
then = "vip"

[[node]]
name = "general"
kind = "queue"
queue = "general"

[[node]]
name = "repair"
kind = "queue"
queue = "repair"

[[node]]
name = "vip"
kind = "queue"
queue = "vip"

[[node]]
name = "bye"
kind = "hangup"
prompts = ["goodbye"]
"#;

impl Profile {
    /// The tenant's file as it is at this moment; `without` is not declared.
    pub fn tenant(&self, index: usize, settings: &QueueSettings, without: Option<&AgentName>) -> Tenant {
        let id = &self.tenants[index];
        let mine = || self.agents.iter().filter(|a| a.tenant == *id && Some(&a.name) != without);
        let mut digests = BTreeMap::new();
        for agent in mine() {
            if let Some(secret) = &agent.secret {
                let account = Account::with_secret(id.as_str(), agent.name.as_str(), REALM, secret);
                digests.insert(agent.name.clone(), (account.ha1_md5, account.ha1_sha256));
            }
        }
        let agents: Vec<Value> = mine()
            .enumerate()
            .map(|(n, a)| {
                let rank = if settings.bottom_up { 100 - n } else { n };
                let queues: Vec<&String> = a.queues.iter().filter(|q| settings.vip_stands || *q != "vip").collect();
                let phone = match &a.secret {
                    Some(_) => json!({ "kind": "sip", "secret_file": "none" }),
                    None => {
                        json!({ "kind": "contact", "uri": format!("sip:{}@{}{}", a.name, a.address, a.transport()) })
                    }
                };
                json!({ "name": a.name, "queues": queues, "skills": a.skills, "phone": phone,
                        "always_ready": a.always_ready, "rank": rank, "weight": 1.0 + n as f64 })
            })
            .collect();
        let queue = |name: &str, priority: i64, order: &OrderSettings| {
            let mut queue = json!({
                "name": name, "priority": priority, "ring_timeout_s": settings.ring_timeout_s,
                "wrapup_s": settings.wrapup_s, "max_wait_s": settings.max_wait_s, "max_waiting": settings.max_waiting,
                "record": settings.record, "announce": { "every_s": 7 },
            });
            let overflow = |to: Value| {
                let mut rules = vec![json!({ "after_s": settings.overflow_s, "to": to })];
                if settings.no_staff {
                    rules.insert(0, json!({ "no_staff": true, "to": to }));
                    rules.push(json!({ "waiting": settings.waiting_max.min(settings.max_waiting), "to": to }));
                }
                json!(rules)
            };
            if order.weight > 0.0 {
                queue["weight"] = json!(order.weight);
                queue["service_level"] = json!({ "seconds": order.target_s, "percent": 80 });
                queue["order"] = json!({ "age_points_per_s": order.age_per_s, "deadline": order.deadline });
                if order.values {
                    queue["order"]["value_points"] = json!({ "gold": 10, "silver": 4 });
                }
                if let Some((s, by)) = order.sticky {
                    queue["sticky"] = json!({ "s": s, "by": by });
                }
            }
            if let Some(callbacks) = &settings.callbacks {
                queue["keys"] = json!({ "8": { "callback": true } });
                queue["callback"] = json!({
                    "first": if callbacks.agent_first { "agent" } else { "customer" },
                    "dial_timeout_s": callbacks.dial_timeout_s, "attempts": callbacks.attempts,
                    "retry_after_s": callbacks.retry_after_s,
                });
            }
            let [general, repair, vip] = settings.strategies;
            queue["strategy"] = json!(general);
            if name == "repair" {
                queue["strategy"] = json!(repair);
                queue["requires"] = json!({ "repair": settings.repair_level });
                queue["overflow"] = overflow(json!({ "queue": "general" }));
                let less = settings.repair_level / 2;
                let until_s = settings.relax_s + settings.relax_for_s;
                queue["relax"] = json!([
                    { "after_s": settings.relax_s, "requires": { "repair": less } },
                    { "after_s": settings.relax_s + 1, "queues": ["general"], "until_s": until_s + 1 },
                ]);
            }
            if name == "vip" {
                queue["strategy"] = json!(vip);
                let to =
                    if settings.leaves_messages() { json!({ "voicemail": true }) } else { json!({ "ivr": "main" }) };
                queue["overflow"] = overflow(to);
                if settings.borrows {
                    queue["borrow"] = json!(["repair"]);
                }
            }
            queue
        };
        let [general, repair, of_vip] = &settings.orders;
        let mut queues = vec![queue("general", 0, general), queue("repair", 0, repair)];
        let vip = if settings.vip_stands { "vip" } else { "general" };
        if settings.vip_stands {
            queues.push(queue("vip", settings.vip_priority, of_vip));
        }
        let script = SCRIPT.replace("queue = \"vip\"", &format!("queue = \"{vip}\""));
        let number = |did: &str, route: Value, answer: &str| json!({ "did": did, "trunk": "carrier", "route": route, "answer": answer });
        let direct = mine().next().map(|a| a.name.clone());
        let outbound = match &settings.callbacks {
            Some(CallbackSettings { max_calls, max_cps, .. }) => {
                json!({ "prefixes": ["+86"], "max_calls": max_calls, "max_cps": max_cps })
            }
            None => json!({}),
        };
        let mut hosts = vec![self.carriers[index].to_string()];
        if settings.callbacks.is_some_and(|callbacks| callbacks.dead_host) {
            hosts.insert(0, "192.0.2.99:5070".into());
        }
        let doc: TenantDoc = serde_json::from_value(json!({
            "tenant": { "id": id, "name": id, "outbound": outbound },
            "trunk": [{ "name": "carrier", "hosts": hosts, "max_calls": settings.max_calls }],
            "ivr": [{ "name": "main", "file": "main.toml", "source": script }],
            "number": [
                number("4001001000", json!({ "ivr": "main" }), "entry"),
                number("4001001001", json!({ "queue": "repair" }), "entry"),
                number("4001001002", json!({ "queue": "general" }), "agent"),
                number("4001001003", json!({ "queue": vip }), "entry"),
                number("4001001004", json!({ "queue": "general" }), "entry"),
                number("4001001005", json!({ "agent": direct }), "entry"),
            ],
            "queue": queues,
            "agent": agents,
        }))
        .expect("a tenant's file");
        match Tenant::compile(doc, digests, None) {
            Ok(tenant) => tenant,
            Err(errors) => panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        }
    }
}
