//! The main job: an order becomes a running, reachable, watched service.

use lumbung_tests::{TestApp, inputs};
use serde_json::json;

#[tokio::test]
async fn every_shipped_service_comes_up_with_an_administrator_of_its_own() {
    let app = TestApp::start().await;
    app.settle().await;
    let customer = app.customer("budi@example.com").await;
    for service in ["linkding", "n8n", "ghost", "wordpress", "vaultwarden"] {
        let plans = app
            .client()
            .get(&format!("/api/v1/services/{service}"))
            .await
            .expect(200);
        let order = json!({"service": service, "plan": plans["plans"][0]["code"], "inputs": inputs(&plans)});
        let accepted = customer.post_once(service, "/api/v1/orders", order).await;
        let location = accepted.header("location").map(str::to_owned);
        let accepted = accepted.expect(202);
        app.settle().await;
        let id = accepted["instance_id"].as_str().unwrap();
        let instance = customer.get(&format!("/api/v1/instances/{id}")).await.expect(200);
        assert_eq!(instance["phase"], "running", "{service}: {instance:#}");
        let operation = customer.get(&location.unwrap()).await.expect(200);
        assert_eq!(operation["status"], "succeeded", "{operation:#}");
        let subscription = accepted["subscription_id"].as_str().unwrap();
        let subscription = customer
            .get(&format!("/api/v1/subscriptions/{subscription}"))
            .await
            .expect(200);
        assert_eq!(subscription["status"], "active", "{subscription:#}");
        let credentials = customer.get(&format!("/api/v1/instances/{id}/credentials")).await;
        assert_eq!(credentials.header("cache-control"), Some("no-store"));
        credentials.expect(200);
    }
}
