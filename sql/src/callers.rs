//! Who may be calling: the records behind a number, for the pop. Three statements, whatever the number matches.

use std::collections::BTreeMap;

use cti_base::{Country, TenantId};
use cti_switch::desk::{CANDIDATES_MAX, CallerRecords, Candidate, PopCase, PopContact, PopProduct};

use crate::contacts::{TAIL_DIGITS, digits_of, normalise, tail_of};
use crate::error::Result;
use crate::row::Row;
use crate::statement::{Arg, Statement, args, statements};
use crate::store::{Asker, Store};

/// Confidence of a number that is exactly the customer's.
const CONFIDENCE_EXACT: f32 = 1.0;
/// Confidence where only the last `TAIL_DIGITS` agree, and how much each further digit adds, up to `CONFIDENCE_TAIL_MAX`.
const CONFIDENCE_TAIL: f32 = 0.4;
const CONFIDENCE_TAIL_DIGIT: f32 = 0.1;
const CONFIDENCE_TAIL_MAX: f32 = 0.8;
/// Products and open cases shown of one customer, newest first.
const PARTS_MAX: usize = 20;
/// Last contacts shown of one customer.
const LAST_CONTACTS_MAX: usize = 3;

/// One customer's branch of a statement: SQLite has no LATERAL, and a window over all their rows would read all of them.
macro_rules! last_of {
    ($customer:literal) => {
        concat!(
            "SELECT * FROM (SELECT customer_id, 'call' AS what, id, outcome AS summary, queue AS detail, agent, \
             started_ms AS at_ms FROM calls WHERE tenant = $1 AND customer_id = ", $customer,
            " ORDER BY started_ms DESC, id DESC LIMIT 3) a", " UNION ALL SELECT * FROM (SELECT customer_id, 'case' AS what, id, \
             title AS summary, kind AS detail, agent, created_ms AS at_ms FROM cases WHERE tenant = $1 AND customer_id = ",
            $customer, " ORDER BY id DESC LIMIT 3) b"
        )
    };
}

macro_rules! parts_of {
    ($customer:literal) => {
        concat!(
            "SELECT * FROM (SELECT customer_id, 'product' AS what, id, model AS a, serial AS b, NULL AS c, NULL AS d, 0 AS at_ms \
             FROM products WHERE tenant = $1 AND customer_id = ",
            $customer,
            " ORDER BY id DESC LIMIT 20) p \
             UNION ALL SELECT * FROM (SELECT customer_id, 'case' AS what, id, kind AS a, title AS b, status AS c, agent AS d, \
             created_ms AS at_ms FROM cases WHERE tenant = $1 AND customer_id = ",
            $customer,
            " AND status IN ('open', 'in_progress') ORDER BY id DESC LIMIT 20) k"
        )
    };
}

macro_rules! of_all {
    ($branch:ident) => {
        concat!(
            $branch!("$2"),
            " UNION ALL ",
            $branch!("$3"),
            " UNION ALL ",
            $branch!("$4"),
            " UNION ALL ",
            $branch!("$5"),
            " UNION ALL ",
            $branch!("$6"),
            " UNION ALL ",
            $branch!("$7"),
            " UNION ALL ",
            $branch!("$8"),
            " UNION ALL ",
            $branch!("$9"),
            " UNION ALL ",
            $branch!("$10"),
            " UNION ALL ",
            $branch!("$11")
        )
    };
}

statements! {
    /// The exact ones are never cut off by the many that only end alike.
    MATCH = "SELECT c.id, c.name, c.company, c.value_class, c.risk, k.value, k.digits FROM contacts k \
             JOIN customers c ON c.tenant = k.tenant AND c.id = k.customer_id WHERE k.tenant = $1 AND k.tail = $2 \
             ORDER BY CASE WHEN k.value = $3 THEN 0 ELSE 1 END, c.id DESC LIMIT 100";
    PARTS_1 = parts_of!("$2");
    PARTS = of_all!(parts_of);
    LAST_1 = last_of!("$2");
    LAST = of_all!(last_of);
}

/// The customers behind a number, best first: those whose number it exactly is, then those whose number ends alike in at
/// least `TAIL_DIGITS` digits. `number` is E.164 or as it came; `country` is the tenant's.
pub async fn by_number(store: &Store, tenant: &TenantId, country: Country, number: &str) -> Result<CallerRecords> {
    let Some(question) = Question::new(tenant, country, number) else { return Ok(CallerRecords::default()) };
    let mut candidates = question.candidates(store.all(&MATCH, question.args()).await?)?;
    if !candidates.is_empty() {
        let (parts, last, args) = behind(tenant, &candidates);
        let (parts, last) = tokio::try_join!(store.all(parts, args.clone()), store.all(last, args))?;
        fill(&mut candidates, &parts, &last)?;
    }
    Ok(CallerRecords { candidates, from_memory: false })
}

/// The same where the database is SQLite, asked on a thread of its own, which `answer` must not hold up; never waits. `number`
/// is E.164, or no telephone number: it is not read again, which costs more than the question. False where the database is another, or too many wait: then `answer` is not called.
pub fn ask_number(
    store: &Store,
    tenant: &TenantId,
    number: &str,
    answer: impl FnOnce(Result<CallerRecords>) + Send + 'static,
) -> bool {
    let (tenant, number) = (tenant.clone(), number.to_owned());
    store.ask(move |asker| {
        let question = Question::of(&tenant, number);
        answer(question.map_or_else(|| Ok(CallerRecords::default()), |question| question.ask(asker)));
    })
}

/// A number as it is looked for.
struct Question {
    tenant: TenantId,
    value: String,
    digits: String,
}

impl Question {
    /// `None` where it has no digits.
    fn new(tenant: &TenantId, country: Country, number: &str) -> Option<Self> {
        Self::of(tenant, normalise(number, country))
    }

    fn of(tenant: &TenantId, value: String) -> Option<Self> {
        let digits = digits_of(&value);
        (!digits.is_empty()).then(|| Self { tenant: tenant.clone(), value, digits })
    }

    fn args(&self) -> Vec<Arg> {
        args![&self.tenant, tail_of(&self.digits), &self.value]
    }

    fn ask(&self, asker: &mut Asker) -> Result<CallerRecords> {
        let mut candidates = self.candidates(asker.all(&MATCH, &self.args())?)?;
        if !candidates.is_empty() {
            let (parts, last, args) = behind(&self.tenant, &candidates);
            fill(&mut candidates, &asker.all(parts, &args)?, &asker.all(last, &args)?)?;
        }
        Ok(CallerRecords { candidates, from_memory: false })
    }

    /// Each customer once, best first.
    fn candidates(&self, rows: Vec<Row>) -> Result<Vec<Candidate>> {
        let mut candidates: Vec<Candidate> = Vec::new();
        for row in rows {
            let Some(found) = candidate(&row, &self.value, &self.digits)? else { continue };
            match candidates.iter_mut().find(|c| c.customer_id == found.customer_id) {
                Some(known) if known.confidence >= found.confidence => {}
                Some(known) => *known = found,
                None => candidates.push(found),
            }
        }
        candidates.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
        candidates.truncate(CANDIDATES_MAX);
        Ok(candidates)
    }
}

/// `None` where too few digits agree.
fn candidate(row: &Row, value: &str, digits: &str) -> Result<Option<Candidate>> {
    let r = row.of("contacts", "id");
    let exact = r.text("value")? == value;
    let theirs = r.opt_text("digits")?.unwrap_or_default();
    let alike = digits.bytes().rev().zip(theirs.bytes().rev()).take_while(|(a, b)| a == b).count();
    if !exact && alike < TAIL_DIGITS {
        return Ok(None);
    }
    let beyond = u8::try_from(alike.saturating_sub(TAIL_DIGITS)).unwrap_or(u8::MAX);
    let confidence = if exact {
        CONFIDENCE_EXACT
    } else {
        CONFIDENCE_TAIL_DIGIT.mul_add(f32::from(beyond), CONFIDENCE_TAIL).min(CONFIDENCE_TAIL_MAX)
    };
    Ok(Some(Candidate {
        customer_id: r.text("id")?,
        name: r.text("name")?,
        why: if exact { "phone" } else { "phone_suffix" }.into(),
        confidence,
        value_class: r.opt_text("value_class")?,
        risk: r.opt_text("risk")?,
        company: r.opt_text("company")?,
        products: Vec::new(),
        open_cases: Vec::new(),
        last_contacts: Vec::new(),
        last_agent: None,
    }))
}

/// The two statements for products, open cases and last contacts of all candidates.
fn behind(tenant: &TenantId, candidates: &[Candidate]) -> (&'static Statement, &'static Statement, Vec<Arg>) {
    let mut args = args![tenant];
    args.extend(candidates.iter().map(|c| Arg::from(&c.customer_id)));
    if candidates.len() == 1 {
        return (&PARTS_1, &LAST_1, args);
    }
    args.resize(1 + CANDIDATES_MAX, Arg::Text(None));
    (&PARTS, &LAST, args)
}

fn fill(candidates: &mut [Candidate], parts: &[Row], last: &[Row]) -> Result<()> {
    let mut by_id: BTreeMap<String, &mut Candidate> =
        candidates.iter_mut().map(|c| (c.customer_id.clone(), c)).collect();
    for row in parts {
        let r = row.of("products", "id");
        let Some(candidate) = by_id.get_mut(&r.text("customer_id")?) else { continue };
        if r.text("what")? == "product" {
            candidate.products.push(PopProduct { id: r.text("id")?, model: r.text("a")?, serial: r.text("b")? });
        } else {
            candidate.open_cases.push(PopCase {
                id: r.text("id")?,
                kind: r.text("a")?,
                title: r.text("b")?,
                status: r.text("c")?,
                opened_ms: r.int("at_ms")?,
                owner: r.opt_text("d")?,
            });
        }
    }
    for row in last {
        let r = row.of("calls", "id");
        let Some(candidate) = by_id.get_mut(&r.text("customer_id")?) else { continue };
        let summary = match (r.text("summary")?, r.opt_text("detail")?) {
            (summary, Some(detail)) => format!("{detail}: {summary}"),
            (summary, None) => summary,
        };
        candidate.last_contacts.push(PopContact {
            what: r.text("what")?,
            summary,
            agent: r.opt_text("agent")?,
            at_ms: r.int("at_ms")?,
        });
    }
    for candidate in by_id.into_values() {
        candidate.products.truncate(PARTS_MAX);
        candidate.open_cases.sort_by_key(|c| std::cmp::Reverse(c.opened_ms));
        candidate.last_contacts.sort_by_key(|c| std::cmp::Reverse(c.at_ms));
        let talked = candidate.last_contacts.iter().find(|contact| contact.what == "call" && contact.agent.is_some());
        candidate.last_agent = talked.and_then(|contact| contact.agent.clone());
        candidate.last_contacts.truncate(LAST_CONTACTS_MAX);
    }
    Ok(())
}
