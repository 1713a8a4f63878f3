//! What a plan costs by the month, from the user's own table and nothing else. What the table lacks is named, never
//! guessed.

use serde_json::{Value as Json, json};

use crate::config::{Config, PricesConfig};
use crate::report::columns;
use crate::state::ScaleBounds;

/// Clouds bill by the hour; a month is reckoned as a twelfth of a year.
const HOURS_PER_MONTH: f64 = 730.0;

/// What the stack would cost.
pub struct Estimate {
    currency: String,
    lines: Vec<Line>,
    /// Web VMs at their fewest and their most.
    web: Option<(f64, f64)>,
    unpriced: Vec<String>,
}

struct Line {
    what: String,
    a_month: f64,
}

/// The price of a stack of that size, where the user gave prices.
pub fn estimate(config: &Config, bounds: ScaleBounds) -> Option<Estimate> {
    let prices = &config.prices;
    if *prices == PricesConfig::default() {
        return None;
    }
    let mut lines = Vec::new();
    let mut unpriced = Vec::new();
    let mut add = |what: String, a_month: Option<f64>| match a_month {
        Some(a_month) => lines.push(Line { what, a_month }),
        None => unpriced.push(what),
    };
    let of_type = |name: &str| prices.instance_hour.get(name).map(|hour| hour * HOURS_PER_MONTH);
    let (database, web) = (config.database_instance_type(), config.web_instance_type());
    add(format!("database VM, {database}"), of_type(database));
    let web_month = of_type(web);
    let desired = f64::from(bounds.desired);
    add(format!("{} web VMs, {web}", bounds.desired), web_month.map(|month| month * desired));
    let gib = config.volume_gib();
    add(format!("volume, {gib} GiB"), prices.volume_gib_month.map(|month| month * f64::from(gib)));
    add("load balancer".to_owned(), prices.load_balancer_hour.map(|hour| hour * HOURS_PER_MONTH));
    let web = web_month.map(|month| (month * f64::from(bounds.min), month * f64::from(bounds.max)));
    Some(Estimate { currency: prices.currency.clone().unwrap_or_default(), lines, web, unpriced })
}

impl Estimate {
    fn total(&self) -> f64 {
        self.lines.iter().map(|line| line.a_month).sum()
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut rows: Vec<Vec<String>> =
            self.lines.iter().map(|line| vec![format!("  {}", line.what), amount(line.a_month)]).collect();
        rows.push(vec!["  together".to_owned(), amount(self.total())]);
        let mut text = format!("price of a month in {}, by your own table\n{}", self.currency, columns(&rows));
        if let Some((least, most)) = self.web {
            text.push_str(&format!("\n  web VMs: {} at their fewest, {} at their most", amount(least), amount(most)));
        }
        if !self.unpriced.is_empty() {
            text.push_str(&format!("\n  without a price in [prices]: {}", self.unpriced.join("; ")));
        }
        text.push_str("\n  requests, traffic and stored pictures are not reckoned");
        text
    }

    /// For programs.
    pub fn json(&self) -> Json {
        let lines = self.lines.iter().map(|line| json!({ "what": line.what, "a_month": cents(line.a_month) }));
        json!({
            "currency": self.currency,
            "a_month": cents(self.total()),
            "web_a_month": self.web.map(|(least, most)| json!({ "fewest": cents(least), "most": cents(most) })),
            "lines": lines.collect::<Vec<_>>(),
            "unpriced": self.unpriced,
        })
    }
}

fn amount(a_month: f64) -> String {
    format!("{a_month:.2}")
}

fn cents(a_month: f64) -> f64 {
    (a_month * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(prices: &str) -> Config {
        let text = format!("[cloud]\nkind = \"aws\"\n[web]\ninstance_type = \"t3.small\"\n{prices}");
        Config::parse(&text, "imagecrud.toml").unwrap().0
    }

    #[test]
    fn no_price_is_told_without_a_table() {
        let config = config("");
        assert!(estimate(&config, config.bounds()).is_none());
    }

    #[test]
    fn a_price_is_the_tables_and_what_it_lacks_is_named() {
        let config =
            config("[prices]\ncurrency = \"EUR\"\nvolume_gib_month = 0.1\ninstance_hour = { \"t3.small\" = 0.02 }");
        let estimate = estimate(&config, config.bounds()).unwrap();
        assert_eq!(
            estimate.text(),
            "price of a month in EUR, by your own table\n  \
             2 web VMs, t3.small  29.20\n  \
             volume, 10 GiB       1.00\n  \
             together             30.20\n  \
             web VMs: 29.20 at their fewest, 87.60 at their most\n  \
             without a price in [prices]: database VM, t3.micro; load balancer\n  \
             requests, traffic and stored pictures are not reckoned"
        );
        assert_eq!(estimate.json()["a_month"], 30.2);
        assert_eq!(estimate.json()["unpriced"][1], "load balancer");
    }
}
