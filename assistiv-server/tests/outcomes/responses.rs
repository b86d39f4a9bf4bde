//! Responses of OpenAI's dialect: what callers get, what is stored of it, and who may see it.

use serde_json::{Value, json};

use crate::charge::with;
use crate::client::{Answer, Connection, Request};
use crate::world::{PROVIDER_KEY, World};

const MODEL: &str = "claude-haiku-4-5";

/// A world whose platform has a key for Anthropic, too.
async fn world() -> World {
    let world = World::new().await;
    let key = json!({"provider": "anthropic", "api_key": PROVIDER_KEY});
    world
        .manage("POST", &world.path("/llm-configs"), key, 201)
        .await;
    world
}

fn body(input: impl Into<Value>) -> Value {
    json!({"model": MODEL, "input": input.into()})
}

async fn call(world: &World, key: &str, body: &Value) -> Answer {
    let request = Request::new("POST", "/v1/responses", key).json(body);
    world.send(&request).await
}

/// A response that was written.
async fn response(world: &World, body: &Value) -> Value {
    let answer = call(world, &world.end_user.key, body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn text(response: &Value) -> &str {
    let output = response["output"].as_array().unwrap();
    let message = output.iter().find(|item| item["type"] == "message");
    message.unwrap()["content"][0]["text"].as_str().unwrap()
}

async fn get(world: &World, key: &str, path: &str) -> Answer {
    let path = format!("/v1/responses/{path}");
    world.send(&Request::new("GET", &path, key)).await
}

/// The events of a streamed response.
async fn streamed(world: &World, body: Value) -> Vec<Value> {
    let body = with(body, json!({"stream": true}));
    let answer = call(world, &world.end_user.key, &body).await;
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let events = answer.text.split_terminator("\n\n");
    let events = events.filter(|event| !event.starts_with(':'));
    let mut read = Vec::new();
    for event in events {
        let (name, data) = event.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name, format!("event: {}", data["type"].as_str().unwrap()));
        assert_eq!(data["sequence_number"], read.len());
        read.push(data);
    }
    read
}

/// What the provider was sent last.
fn sent(world: &World) -> Value {
    serde_json::from_slice(&world.mock.last_request().unwrap().body).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_is_charged_and_can_be_fetched() {
    let world = world().await;
    let asked = with(
        body("mock:words=3 mock:prompt_tokens=100 mock:completion_tokens=40"),
        json!({"metadata": {"k": "v"}, "instructions": "Be brief."}),
    );
    let answer = call(&world, &world.end_user.key, &asked).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("x-assistiv-provider"), Some("anthropic"));
    let made = answer.json();
    assert_eq!(
        (&made["object"], &made["status"]),
        (&json!("response"), &json!("completed"))
    );
    assert_eq!(text(&made), "mock answers repeat");
    assert_eq!(made["metadata"], json!({"k": "v"}));
    assert_eq!(made["usage"]["total_tokens"], 140);
    let id = made["id"].as_str().unwrap();

    let fetched = get(&world, &world.end_user.key, id).await;
    assert_eq!((fetched.status, fetched.json()), (200, made.clone()));
    let items = get(&world, &world.end_user.key, &format!("{id}/input_items"))
        .await
        .json();
    assert_eq!(
        (&items["object"], &items["has_more"]),
        (&json!("list"), &json!(false))
    );
    assert_eq!(items["data"][0]["role"], "user");
    assert_eq!(items["first_id"], items["data"][0]["id"]);

    let end = Request::new(
        "DELETE",
        &format!("/v1/responses/{id}"),
        &world.end_user.key,
    );
    let deleted = world.send(&end).await;
    assert_eq!(
        deleted.json(),
        json!({"id": id, "object": "response", "deleted": true})
    );
    for answer in [
        world.send(&end).await,
        get(&world, &world.end_user.key, id).await,
        get(&world, &world.end_user.key, &format!("{id}/input_items")).await,
        call(
            &world,
            &world.end_user.key,
            &with(asked, json!({"previous_response_id": id})),
        )
        .await,
    ] {
        answer.refused(404, "response_not_found");
    }
    world.no_hold_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_goes_on_where_it_was() {
    let world = world().await;
    let first = response(&world, &body("mock:words=2 first")).await;
    let next = |previous: &Value, input: &str| {
        with(body(input), json!({"previous_response_id": previous["id"]}))
    };
    let second = response(&world, &next(&first, "mock:words=3 second")).await;
    assert_eq!(second["previous_response_id"], first["id"]);
    let third = response(&world, &next(&second, "mock:words=1 third")).await;
    let messages = sent(&world)["messages"].clone();
    let said: Vec<&str> = messages
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["content"][0]["text"].as_str().unwrap())
        .collect();
    let all = [
        "mock:words=2 first",
        "mock answers",
        "mock:words=3 second",
        "mock answers repeat",
        "mock:words=1 third",
    ];
    assert_eq!(said, all);
    // Both branches of a conversation are its own.
    let branch = response(&world, &next(&first, "mock:words=1 other")).await;
    assert_eq!(sent(&world)["messages"].as_array().unwrap().len(), 3);
    // Only what is new is the input of a response.
    let path = format!("{}/input_items", third["id"].as_str().unwrap());
    let items = get(&world, &world.end_user.key, &path).await.json();
    assert_eq!(items["data"].as_array().unwrap().len(), 1);
    // What is not stored cannot be continued.
    let unstored = with(next(&branch, "mock:words=1 x"), json!({"store": false}));
    let unstored = response(&world, &unstored).await;
    let answer = call(&world, &world.end_user.key, &next(&unstored, "y")).await;
    answer.refused(404, "response_not_found");
    // Without its middle there is no way from the end to the beginning.
    let path = format!("/v1/responses/{}", second["id"].as_str().unwrap());
    let gone = world
        .send(&Request::new("DELETE", &path, &world.end_user.key))
        .await;
    assert_eq!(gone.status, 200);
    let answer = call(&world, &world.end_user.key, &next(&third, "y")).await;
    answer.refused(404, "response_not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_responses_answer_like_unknown_ones() {
    let world = world().await;
    let made = response(&world, &body("mock:words=1")).await;
    let id = made["id"].as_str().unwrap();
    let stranger = world.make_platform("Other", "1").await;
    let unknown = "resp_0190a0b0c0d07000800000000000000f";
    let platform = get(&world, &world.platform.key, id).await;
    assert_eq!((platform.status, platform.json()), (200, made.clone()));
    for id in [id, unknown, "resp_x"] {
        let answer = get(&world, &stranger.key, id).await;
        let error = answer.refused(404, "response_not_found");
        let message = error["message"].as_str().unwrap().replace(id, "…");
        assert_eq!(
            message,
            "there is no response `…`; it may have expired or been deleted"
        );
    }
    // A platform reads what its end users have made, and goes on with its own alone.
    let on = with(body("x"), json!({"previous_response_id": id}));
    let answer = call(&world, &world.platform.key, &on).await;
    answer.refused(404, "response_not_found");
    let own = call(&world, &world.platform.key, &body("mock:words=1"))
        .await
        .json();
    let answer = get(&world, &world.end_user.key, own["id"].as_str().unwrap()).await;
    answer.refused(404, "response_not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_goes_on_by_itself_and_has_one_writer() {
    let world = world().await;
    let on = |input: &str| with(body(input), json!({"thread_id": "t-1"}));
    let first = response(&world, &on("mock:words=1 one")).await;
    assert_eq!(
        (&first["thread_id"], &first["previous_response_id"]),
        (&json!("t-1"), &Value::Null)
    );
    let second = response(&world, &on("mock:words=1 two")).await;
    assert_eq!(second["previous_response_id"], first["id"]);
    assert_eq!(sent(&world)["messages"].as_array().unwrap().len(), 3);

    let mut connection = Connection::open(world.address).await;
    let slow = with(
        on("mock:words=400 mock:delay_ms=20"),
        json!({"stream": true}),
    );
    let slow = Request::new("POST", "/v1/responses", &world.end_user.key).json(slow);
    connection.send(&slow).await;
    let stream = connection.stream().await;
    let answer = call(&world, &world.end_user.key, &on("three")).await;
    answer.refused(409, "thread_busy");
    assert_eq!(answer.header("x-should-retry"), Some("true"));
    // Another end user's thread of this name is another thread, and so is the platform's.
    let platform = call(&world, &world.platform.key, &on("mock:words=1 mine"))
        .await
        .json();
    assert_eq!(platform["previous_response_id"], Value::Null);
    // Who leaves gives the thread back; nothing of the broken response is in it.
    drop(stream);
    world.no_hold_is_left().await;
    let third = response(&world, &on("mock:words=1 three")).await;
    assert_eq!(third["previous_response_id"], second["id"]);

    let other = with(
        on("x"),
        json!({"previous_response_id": first["id"], "thread_id": "t-2"}),
    );
    call(&world, &world.end_user.key, &other)
        .await
        .refused(400, "validation_failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_stored_as_it_was_said() {
    let world = world().await;
    let events = streamed(&world, body("mock:words=4")).await;
    let types: Vec<_> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(types[..2], ["response.created", "response.in_progress"]);
    assert_eq!(types.last(), Some(&"response.completed"));
    let whole: String = events
        .iter()
        .filter(|event| event["type"] == "response.output_text.delta")
        .map(|event| event["delta"].as_str().unwrap())
        .collect();
    let last = &events.last().unwrap()["response"];
    assert_eq!(text(last), whole);
    let fetched = get(&world, &world.end_user.key, last["id"].as_str().unwrap()).await;
    assert_eq!(fetched.json(), *last);
    world.no_hold_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_off_says_that_it_failed() {
    let world = world().await;
    let events = streamed(&world, body("mock:words=9 mock:cut")).await;
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.failed");
    let failed = &last["response"];
    assert_eq!(failed["status"], "failed");
    assert_eq!(failed["error"]["reason"], "provider_stream_interrupted");
    assert_eq!(failed["error"]["code"], "bad_gateway");
    let ends = events.iter().filter(|event| {
        [
            "response.completed",
            "response.incomplete",
            "response.failed",
        ]
        .contains(&event["type"].as_str().unwrap())
    });
    assert_eq!(ends.count(), 1);
    let id = failed["id"].as_str().unwrap();
    get(&world, &world.end_user.key, id)
        .await
        .refused(404, "response_not_found");
    world.no_hold_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_go_back_and_forth_by_reference() {
    let world = world().await;
    let city =
        json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let tools = json!({"tools": [{"type": "function", "name": "weather", "parameters": city}]});
    let first = response(&world, &with(body("Weather?"), tools.clone())).await;
    let output = first["output"].as_array().unwrap();
    let called = output
        .iter()
        .find(|item| item["type"] == "function_call")
        .unwrap();
    let result =
        json!({"type": "function_call_output", "call_id": called["call_id"], "output": "18C"});
    let reference = |item: &Value| json!({"type": "item_reference", "id": item["id"]});
    let mut input = vec![json!({"role": "user", "content": "Weather?"})];
    input.extend(output.iter().map(reference));
    input.push(result);
    let answer = call(
        &world,
        &world.end_user.key,
        &with(body(input), tools.clone()),
    )
    .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let messages = sent(&world)["messages"].clone();
    assert_eq!(
        messages[2]["content"][0]["type"], "tool_result",
        "{messages}"
    );
    let unknown = json!([{"type": "item_reference", "id": "msg_x"}]);
    let answer = call(&world, &world.end_user.key, &body(unknown)).await;
    let error = answer.refused(400, "validation_failed");
    assert_eq!(error["param"], "input[0].id");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_survives_a_graceful_stop() {
    let mut world = world().await;
    let made = response(&world, &body("mock:words=1")).await;
    let scope = world
        .gateway
        .caller(&world.end_user.key.parse().unwrap())
        .await
        .unwrap();
    world.stop();
    world.closed().await;
    // What the store has now was written down: the server's own memory of it is not asked.
    let id = made["id"].as_str().unwrap().parse().unwrap();
    let store = &world.gateway.stores().responses;
    assert!(store.response(&scope, id).await.unwrap().is_some());
}
