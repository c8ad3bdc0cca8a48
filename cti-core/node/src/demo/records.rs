//! The sample tenant's records: truck owners, dealers, service stations, their engines and their cases.

use std::time::Duration;

use cti_base::{Country, TenantId, Timestamp};
use zongji_sql::cases::{CaseKind, CaseNew, CasePriority, CaseStatus};
use zongji_sql::contacts::{ContactKind, ContactNew};
use zongji_sql::customers::CustomerNew;
use zongji_sql::products::ProductNew;
use zongji_sql::{Store, cases, customers};

/// How many customers there are, stations among them.
pub const CUSTOMERS: usize = 40;

const OWNERS: [(&str, &str); 32] = [
    ("李建国", "济南顺达物流"),
    ("张伟", "临沂宏远运输"),
    ("刘洋", "青岛海通集运"),
    ("陈志强", "郑州中原快运"),
    ("杨海涛", "石家庄冀运物流"),
    ("赵立新", "太原晋煤运输"),
    ("黄国栋", "西安秦岭货运"),
    ("周永福", "成都蜀道物流"),
    ("吴德胜", "重庆山城运输"),
    ("徐明", "武汉江汉物流"),
    ("孙大勇", "长沙湘运集团"),
    ("胡军", "南昌赣江货运"),
    ("朱红梅", "合肥徽运物流"),
    ("高峰", "南京金陵快运"),
    ("林志远", "福州闽海物流"),
    ("何秀英", "广州穗通运输"),
    ("郭振华", "南宁桂通物流"),
    ("马占山", "呼和浩特草原运输"),
    ("罗文斌", "兰州陇运物流"),
    ("梁宽", "银川塞上货运"),
    ("宋玉林", "乌鲁木齐天山运输"),
    ("郑钧", "哈尔滨龙运物流"),
    ("谢广坤", "长春吉运集团"),
    ("韩雪峰", "沈阳辽通货运"),
    ("唐小兵", "大连港通物流"),
    ("冯桂兰", "天津滨海集运"),
    ("董文华", "唐山曹妃甸运输"),
    ("萧然", "上海申通重卡租赁"),
    ("程继东", "杭州钱塘物流"),
    ("曹建军", "宁波甬港运输"),
    ("Daniel Meyer", "Nordfjord Marine Power"),
    ("Aisha Rahman", "Gulf Generator Rental"),
];
const STATIONS: [(&str, &str); 8] = [
    ("远航服务站·济南", "济南市历城区工业北路 88 号"),
    ("远航服务站·临沂", "临沂市兰山区物流园 3 号"),
    ("远航服务站·郑州", "郑州市经开区航海东路 1200 号"),
    ("远航服务站·西安", "西安市未央区朱宏路 56 号"),
    ("远航服务站·成都", "成都市龙泉驿区车城大道 9 号"),
    ("远航服务站·武汉", "武汉市东西湖区金山大道 77 号"),
    ("远航服务站·广州", "广州市白云区广从公路 300 号"),
    ("远航服务站·沈阳", "沈阳市于洪区沈新路 15 号"),
];
const MODELS: [&str; 6] = ["YH6D12-480", "YH6D11-430", "YH4D08-240", "YH6M16-620", "YH6G10-320", "YH4S05-160"];
const CASES: [(CaseKind, CasePriority, CaseStatus, &str, &str); 10] = [
    (
        CaseKind::Repair,
        CasePriority::High,
        CaseStatus::InProgress,
        "启动困难，冷车冒白烟",
        "气温 -5℃ 以下冷启动需多次，启动后冒白烟约 2 分钟。",
    ),
    (
        CaseKind::Repair,
        CasePriority::Normal,
        CaseStatus::Open,
        "机油压力报警",
        "怠速时机油压力低报警，转速升高后消失。",
    ),
    (
        CaseKind::Rescue,
        CasePriority::Urgent,
        CaseStatus::Resolved,
        "高速抛锚，水温过高",
        "发动机水温超过 105℃ 停车，需拖车与现场检修。",
    ),
    (
        CaseKind::Complaint,
        CasePriority::High,
        CaseStatus::InProgress,
        "服务站配件等待超过一周",
        "增压器配件到货一再推迟，客户要求补偿停运损失。",
    ),
    (CaseKind::Inquiry, CasePriority::Low, CaseStatus::Closed, "咨询机油更换周期", "已告知重载工况 3 万公里更换。"),
    (
        CaseKind::FollowUp,
        CasePriority::Normal,
        CaseStatus::Open,
        "维修后满意度回访",
        "维修完成三日后回访，确认动力恢复情况。",
    ),
    (
        CaseKind::Repair,
        CasePriority::Normal,
        CaseStatus::Resolved,
        "尿素系统报故障码 P204F",
        "更换尿素喷嘴后故障码清除。",
    ),
    (CaseKind::Inquiry, CasePriority::Normal, CaseStatus::Resolved, "延保政策咨询", "已发送延保条款与价格。"),
    (CaseKind::Complaint, CasePriority::Normal, CaseStatus::Closed, "保养收费与公示不符", "核实后退还差价。"),
    (
        CaseKind::Rescue,
        CasePriority::Urgent,
        CaseStatus::Open,
        "夜间国道无法启动",
        "蓄电池电量不足，等待附近服务站搭电。",
    ),
];
const DAY: Duration = Duration::from_secs(86_400);

/// The number that customer `index` calls from.
pub fn phone(index: usize) -> String {
    const PREFIXES: [&str; 8] = ["138", "139", "136", "158", "186", "187", "150", "133"];
    format!("{}{:08}", PREFIXES[index % PREFIXES.len()], 10_012_345 + index * 1_370_417)
}

/// Fills the records once; a tenant that has customers is left alone.
pub async fn fill(store: &Store, tenant: &TenantId, country: Country, now: Timestamp) -> zongji_sql::Result<()> {
    if customers::count(store, tenant).await? > 0 {
        return Ok(());
    }
    let new: Vec<CustomerNew> = (0..CUSTOMERS).map(customer).collect();
    let ids = customers::create_many(store, tenant, country, &new, now - 90 * DAY).await?;
    // Every second owner has something behind them, the first some more.
    let owners = ids.iter().take(OWNERS.len()).enumerate();
    for (index, id) in owners.filter(|(index, _)| index % 2 == 0 || *index < 6) {
        let customer = customers::get(store, tenant, id).await?;
        let product = customer.and_then(|customer| customer.products.first().map(|product| product.id.clone()));
        for turn in 0..=usize::from(index < 6) {
            let case = case(index + 3 * turn, id, product.clone());
            let opened = now - DAY * (1 + ((index * 7 + turn * 13) % 60) as u32);
            let case = cases::create(store, tenant, "1001", &case, opened).await?;
            let note = "已电话联系客户，确认现场情况与方便时间。";
            cases::add_note(store, tenant, &case.id, "1001", note, opened + Duration::from_secs(3_600)).await?;
        }
    }
    Ok(())
}

fn customer(index: usize) -> CustomerNew {
    let phone = ContactNew { kind: ContactKind::Phone, value: phone(index), label: Some("手机".into()) };
    let Some(station) = index.checked_sub(OWNERS.len()) else {
        let (name, company) = OWNERS[index];
        let wechat =
            ContactNew { kind: ContactKind::Wechat, value: format!("wx_{:05}", 10_007 + index * 311), label: None };
        let english = index >= OWNERS.len() - 2;
        return CustomerNew {
            name: name.into(),
            company: Some(company.into()),
            value_class: Some(["vip", "gold", "standard", "silver"][index % 4].into()),
            risk: [None, Some("complaint"), None, None, Some("payment")][index % 5].map(Into::into),
            locale: Some(if english { "en" } else { "zh-CN" }.into()),
            notes: index.is_multiple_of(6).then(|| "车队 20 台以上，负责人白天开车，优先微信联系。".into()),
            contacts: vec![phone, wechat],
            products: (0..1 + index % 2).map(|engine| product(index, engine)).collect(),
        };
    };
    let (name, address) = STATIONS[station];
    CustomerNew {
        name: name.into(),
        company: Some("特约服务站".into()),
        value_class: Some("key".into()),
        notes: Some(address.into()),
        contacts: vec![phone],
        ..CustomerNew::default()
    }
}

fn product(customer: usize, engine: usize) -> ProductNew {
    let model = MODELS[(customer + engine * 2) % MODELS.len()];
    let (month, day) = (1 + customer % 12, 1 + (customer * 7 + engine) % 28);
    let year = 2023 + (customer + engine) % 3;
    ProductNew {
        model: model.into(),
        serial: format!("{}{}{:06}", &model[..4], year % 100, 100_000 + customer * 2_713 + engine * 97),
        purchased_on: Some(format!("{year}-{month:02}-{day:02}")),
        warranty_until: Some(format!("{}-{month:02}-{day:02}", year + 2)),
    }
}

fn case(index: usize, customer: &str, product: Option<String>) -> CaseNew {
    let (kind, priority, status, title, description) = CASES[index % CASES.len()];
    CaseNew {
        priority,
        status,
        description: Some(description.into()),
        customer_id: Some(customer.to_owned()),
        product_id: product,
        place: (kind == CaseKind::Rescue).then(|| "G2 京沪高速 512 公里处".into()),
        callback_number: Some(phone(index)),
        agent: Some("1001".into()),
        ..CaseNew::new(kind, title)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[tokio::test]
    async fn the_sample_is_filled_once_and_a_caller_of_it_is_found() {
        let dir = tempfile::tempdir().expect("a directory");
        let url = format!("sqlite:{}", dir.path().join("z.db").display());
        let store = Store::connect(&url).await.expect("a database");
        let (tenant, china) = (TenantId::from("demo"), Country::parse("CN").expect("a country"));
        zongji_sql::tenants::ensure(&store, &tenant, "Demo", clock::now()).await.expect("a tenant");
        for _ in 0..2 {
            fill(&store, &tenant, china, clock::now()).await.expect("filled");
            assert_eq!(customers::count(&store, &tenant).await.expect("counted"), CUSTOMERS as u64);
        }
        let found = zongji_sql::callers::by_number(&store, &tenant, china, &phone(0)).await.expect("asked");
        assert_eq!(found.candidates.len(), 1);
        assert_eq!(found.candidates[0].name, "李建国");
        assert!(!found.candidates[0].open_cases.is_empty() && !found.candidates[0].products.is_empty());
    }

    #[test]
    fn no_two_customers_share_a_number() {
        let numbers: std::collections::BTreeSet<String> = (0..CUSTOMERS).map(phone).collect();
        assert_eq!(numbers.len(), CUSTOMERS);
        assert!(numbers.iter().all(|number| number.len() == 11), "{numbers:?}");
    }
}
