//! Webhooks on several nodes: an event is taken once, whoever is asked, and delivered whoever is gone.

use std::{collections::HashMap, time::Duration};

use futures_util::future::join_all;
use keyreeve_api::{Client, ListWebhookEventsQuery};
use serde_json::json;

use crate::{
    backends::eventually,
    cluster::{Cluster, PATIENT},
    support::block_on,
    vault::call,
    webhook_app::App,
    webhooks::{SECRET, event_body, sent, signed},
};

/// How long a node that says nothing keeps the duty to deliver.
const DUTY: Duration = Duration::from_secs(30);

fn delivered(client: &Client) -> usize {
    let query = ListWebhookEventsQuery {
        state: Some("delivered".to_owned()),
        ..ListWebhookEventsQuery::default()
    };
    block_on(client.list_webhook_events(&query)).unwrap().items.len()
}

#[test]
fn nodes_take_an_event_once_and_deliver_for_one_that_is_gone() {
    // Both nodes open the same vault.
    let root_key = [
        ("KEYREEVE_VAULT__ROOT_KEY", "env:MADE_UP_ROOT_KEY"),
        ("MADE_UP_ROOT_KEY", "RVhBTVBMRWV4YW1wbGVFWEFNUExFZXhhbXBsZUVYQU0="),
    ];
    let settings = [&root_key[..], &[PATIENT]].concat();
    let Some(mut cluster) = Cluster::start_with(2, &settings) else { return };
    let app = App::start();
    let (admin, url) = (cluster.admin_key().to_owned(), cluster.nodes[0].url.clone());
    let body = json!({ "data": { "value": SECRET } });
    let (status, said) = block_on(call(&url, &admin, "PUT", "secret/data/sender", Some(&body)));
    assert_eq!(status, 200, "{said}");
    let source = json!({
        "name": "in",
        "scheme": "github",
        "secret": "sender",
        "public_url": "https://hooks.example.com/hooks/in",
        "to": app.url(),
        "allow_internal": true,
        "allow_plaintext": true,
    });
    let source = serde_json::from_value(source).unwrap();
    block_on(cluster.client(0).create_webhook_source(&source)).unwrap();
    let hooks: Vec<String> =
        cluster.nodes.iter().map(|node| format!("{}/hooks/in", node.url)).collect();
    eventually("the other node knows the source", || {
        block_on(cluster.client(1).webhook_source("in")).is_ok()
    });
    // Whoever takes an event looks at once, so that this node delivers, and goes on with it.
    assert_eq!(sent(signed(&hooks[0], "github", SECRET, &event_body(0))).0, 200);
    eventually("it is there", || delivered(&cluster.client(0)) == 1);

    for round in 1..=5 {
        let body = event_body(round);
        let answers = block_on(async {
            let hook = |number: usize| &hooks[number % 2];
            join_all((0..8).map(|it| signed(hook(it), "github", SECRET, &body).send())).await
        });
        let accepted = answers.into_iter().filter(|answer| {
            let answer = answer.as_ref().unwrap();
            assert_eq!(answer.status().as_u16(), 200);
            !answer.headers().contains_key("keyreeve-duplicate")
        });
        assert_eq!(accepted.count(), 1, "on both nodes together");
    }
    eventually("all are there", || delivered(&cluster.client(1)) == 6);
    assert_eq!(app.taken().len(), 6, "each once: one node delivers");

    // The one that delivers ends, and the other one goes on once its duty is over.
    cluster.nodes.remove(0).kill();
    assert_eq!(sent(signed(&hooks[1], "github", SECRET, &event_body(7))).0, 200);
    let is_there = || app.taken().iter().any(|it| it.body == event_body(7).as_bytes());
    std::thread::sleep(DUTY / 6);
    assert!(!is_there(), "while the duty is another's nobody else delivers");
    std::thread::sleep(DUTY);
    eventually("the node that is left delivers", is_there);
    let mut ids: HashMap<Vec<u8>, String> = HashMap::new();
    for taken in app.taken() {
        let known = ids.entry(taken.body.clone()).or_insert_with(|| taken.id().to_owned());
        assert_eq!(known, taken.id(), "one event has one id");
    }
}
