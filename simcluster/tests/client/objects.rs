//! Making, reading, changing and deleting objects.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{
    ResourceExt as _,
    api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, ValidationDirective},
};
use serde_json::json;

use crate::support::{config_map, object, refusal, start, with_uid};

const POST: PostParams = PostParams { dry_run: false, field_manager: None };

fn names(list: kube::core::ObjectList<ConfigMap>) -> Vec<String> {
    list.into_iter().map(|map| map.name_any()).collect()
}

#[tokio::test]
async fn lists_are_selected_and_pages_are_snapshots() {
    let stage = start().await;
    let maps = stage.api::<ConfigMap>();
    for name in ["a", "b", "c", "d"] {
        let mut map = config_map(name, json!({}));
        map["metadata"]["labels"] = json!({"name": name, "half": if name < "c" { "1" } else { "2" }});
        maps.create(&POST, &object(map)).await.unwrap();
    }
    let selectors = [
        ("half=1", "metadata.name!=a", "b"),
        ("half!=1,name", "", "c,d"),
        ("name in (a, d)", "", "a,d"),
        ("half,name notin (a,b),half>1", "", "c,d"),
        ("half,!none,half<2", "", "a,b"),
    ];
    for (labels, fields, expected) in selectors {
        let list = maps.list(&ListParams::default().labels(labels).fields(fields)).await.unwrap();
        assert_eq!(names(list).join(","), expected, "{labels} {fields}");
    }
    for wrong in ["a=b=c", "a in 1", "a,", "a in (1", "=", "a>x"] {
        let refused = maps.list(&ListParams::default().labels(wrong)).await.unwrap_err();
        assert_eq!(refusal(&refused).0, 400, "{wrong}");
    }
    let page = ListParams::default().labels("half").limit(3);
    let first = maps.list(&page).await.unwrap();
    let token = first.metadata.continue_.clone().unwrap();
    assert_eq!(names(first), ["a", "b", "c"]);
    maps.delete("d", &DeleteParams::default()).await.unwrap();
    assert_eq!(names(maps.list(&page.clone().continue_token(&token)).await.unwrap()), ["d"], "as it was when it began");
    if let Some(sim) = stage.sim("another cluster does not forget on request") {
        sim.cluster().compact();
        let refused = maps.list(&page.continue_token(&token)).await.unwrap_err();
        assert_eq!(refusal(&refused).0, 410);
    }
}

#[tokio::test]
async fn patches_do_what_their_type_says() {
    let stage = start().await;
    let maps = stage.api::<ConfigMap>();
    maps.create(&POST, &object(config_map("m", json!({"a": "1", "b": "1"})))).await.unwrap();
    let steps = [
        (Patch::Merge(json!({"data": {"a": null, "b": "2"}})), Ok(json!({"b": "2"}))),
        (Patch::Strategic(json!({"data": {"b": null, "c": "3"}})), Ok(json!({"c": "3"}))),
        (Patch::Merge(json!({"metadata": {"resourceVersion": "1"}, "data": {}})), Err(409)),
    ];
    for (patch, expected) in steps {
        let answer = maps.patch("m", &PatchParams::default(), &patch).await;
        let data = answer.as_ref().map(|map| json!(map.data)).map_err(|error| refusal(error).0);
        assert_eq!(data, expected, "{patch:?}");
    }
}

#[tokio::test]
async fn writes_are_checked_before_they_happen() {
    let stage = start().await;
    let maps = stage.api::<ConfigMap>();
    let dry = PostParams { dry_run: true, ..POST };
    let tried = maps.create(&dry, &object(config_map("m", json!({})))).await.unwrap();
    assert!(tried.uid().is_some() && maps.get_opt("m").await.unwrap().is_none());
    let mut map = maps.create(&POST, &object(config_map("m", json!({})))).await.unwrap();
    let twice = maps.create(&POST, &object(config_map("m", json!({})))).await.unwrap_err();
    assert_eq!(refusal(&twice), (409, "configmaps \"m\" already exists"));
    map.data = Some([("a".to_owned(), "2".to_owned())].into());
    maps.replace("m", &POST, &map).await.unwrap();
    assert_eq!(refusal(&maps.replace("m", &POST, &map).await.unwrap_err()).0, 409, "a stale update");
    let strict = PatchParams { field_validation: Some(ValidationDirective::Strict), ..PatchParams::default() };
    let unknown = Patch::Merge(json!({"dataa": {}}));
    assert_eq!(refusal(&maps.patch("m", &strict, &unknown).await.unwrap_err()).0, 422);
    maps.patch("m", &PatchParams::default(), &unknown).await.unwrap();
    let elsewhere = Api::<ConfigMap>::namespaced(stage.client.clone(), &format!("{}-none", stage.namespace));
    assert_eq!(refusal(&elsewhere.create(&POST, &object(config_map("m", json!({})))).await.unwrap_err()).0, 404);
}

#[tokio::test]
async fn deletion_honours_preconditions_and_finalizers() {
    let stage = start().await;
    let maps = stage.api::<ConfigMap>();
    let mut held = config_map("m", json!({}));
    held["metadata"]["finalizers"] = json!(["lumbung.dev/hold"]);
    let made = maps.create(&POST, &object(held)).await.unwrap();
    let refused = maps.delete("m", &with_uid("00000000-0000-0000-0000-000000000001")).await.unwrap_err();
    assert_eq!(refusal(&refused).0, 409);
    let answer = maps.delete("m", &with_uid(&made.uid().unwrap())).await.unwrap();
    assert!(answer.left().unwrap().metadata.deletion_timestamp.is_some());
    let free = json!({"metadata": {"finalizers": null}});
    maps.patch("m", &PatchParams::default(), &Patch::Merge(free)).await.unwrap();
    assert!(maps.get_opt("m").await.unwrap().is_none());
}

#[tokio::test]
async fn an_owner_takes_its_dependents_along_unless_they_are_orphaned() {
    let stage = start().await;
    let maps = stage.api::<ConfigMap>();
    let ways =
        [(DeleteParams::background(), false), (DeleteParams::foreground(), false), (DeleteParams::orphan(), true)];
    for (way, (params, stays)) in ways.iter().enumerate() {
        let name = format!("owner-{way}");
        let owner = maps.create(&POST, &object(config_map(&name, json!({})))).await.unwrap();
        let mut dependent = config_map(&format!("dependent-{way}"), json!({}));
        let reference = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": owner.uid(), "blockOwnerDeletion": true});
        dependent["metadata"]["ownerReferences"] = json!([reference]);
        maps.create(&POST, &object(dependent)).await.unwrap();
        maps.delete(&name, params).await.unwrap();
        let settled = async || {
            let (owner, dependent) =
                (maps.get_opt(&name).await.unwrap(), maps.get_opt(&format!("dependent-{way}")).await.unwrap());
            let orphaned = dependent.as_ref().is_some_and(|map| map.owner_references().is_empty());
            (owner.is_none() && dependent.is_some() == *stays && orphaned == *stays).then_some(())
        };
        stage.eventually(&format!("{params:?}"), settled).await;
    }
}

#[tokio::test]
async fn a_namespace_takes_its_contents_along() {
    let stage = start().await;
    let secrets = stage.api::<Secret>();
    let secret = object(json!({"metadata": {"name": "s"}, "stringData": {"PASSWORD": "hunter2"}}));
    assert_eq!(secrets.create(&POST, &secret).await.unwrap().data.unwrap()["PASSWORD"].0, b"hunter2");
    let namespaces = Api::<Namespace>::all(stage.client.clone());
    namespaces.delete(&stage.namespace, &DeleteParams::default()).await.unwrap();
    let gone = async || namespaces.get_opt(&stage.namespace).await.unwrap().is_none().then_some(());
    stage.eventually("the namespace is gone", gone).await;
    assert!(secrets.list(&ListParams::default()).await.unwrap().items.is_empty());
}
