use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use cti_switch::config::Role;
use serde::Serialize;
use ts_rs::TS;
use zongji_sql::cases::CaseKind;
use zongji_sql::tenants;

use super::endpoint::{Access, Answer, Endpoint, Method};
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/me",
    access: Access::SignedIn,
    summary: "Who is signed in and what their tenant lets them choose",
    query: &[],
    body: None,
    answer: (200, Answer::One("Me")),
    problems: &[],
};

#[derive(Serialize, TS)]
pub struct Me {
    pub tenant: MeTenant,
    pub user: MeUser,
    pub break_reasons: Vec<String>,
    pub dispositions: Vec<String>,
    pub case_kinds: Vec<CaseKind>,
    /// An agent's own queues; for those who are none, all.
    pub queues: Vec<String>,
}

#[derive(Serialize, TS)]
pub struct MeTenant {
    pub id: String,
    pub name: String,
    pub locale: String,
    pub timezone: String,
}

#[derive(Serialize, TS)]
pub struct MeUser {
    pub name: String,
    pub display: String,
    pub role: Role,
}

pub async fn handler(State(app): State<Arc<App>>, who: SignedIn) -> Result<Json<Me>, Problem> {
    let stored = tenants::get(&app.store, &who.tenant).await?;
    let name = stored.as_ref().map_or_else(|| who.tenant.as_str().to_owned(), |tenant| tenant.name.clone());
    let doc = stored.and_then(|tenant| tenant.doc);
    let agent = doc.as_ref().and_then(|doc| doc.agent.iter().find(|agent| agent.name.as_str() == who.user));
    let queues = match (agent, &doc) {
        (Some(agent), _) => agent.queues.iter().map(|queue| queue.as_str().to_owned()).collect(),
        (None, Some(doc)) => doc.queue.iter().map(|queue| queue.name.as_str().to_owned()).collect(),
        (None, None) => Vec::new(),
    };
    let declared = doc.map(|doc| doc.tenant);
    let tenant = MeTenant {
        id: who.tenant.as_str().to_owned(),
        name,
        locale: declared.as_ref().map_or_else(|| "en".into(), |tenant| tenant.locale.clone()),
        timezone: declared.as_ref().map_or_else(|| "UTC".into(), |tenant| tenant.timezone.clone()),
    };
    let (break_reasons, dispositions) = declared.map(|t| (t.break_reasons, t.dispositions)).unwrap_or_default();
    let user = MeUser { name: who.user, display: who.display, role: who.role };
    Ok(Json(Me { tenant, user, break_reasons, dispositions, case_kinds: CaseKind::ALL.to_vec(), queues }))
}
