//! What belongs to others looks exactly like what does not exist.

use serde_json::json;

use crate::support::{App, STORES, UNKNOWN, text};

#[tokio::test]
async fn foreign_objects_answer_like_unknown_ones() {
    for store in STORES {
        let app = App::new(store).await;
        let mine = app.tenant("Mine").await;
        let theirs = app.tenant("Theirs").await;
        let my_user = app.user(&mine, "u").await;
        let user = app.user(&theirs, "their-user").await;
        let budget = theirs.user_path(&user, "/budget");
        app.send(&theirs.key, "POST", &budget, json!({"max_usd": 1}))
            .await
            .data(201);
        let config = json!({"provider": "openai", "api_key": "x"});
        let config = app
            .send(&theirs.key, "POST", &theirs.path("/llm-configs"), config)
            .await
            .data(201);
        let keys = app.get(&theirs.key, &theirs.path("/api-keys")).await.json();
        let user_keys = app
            .get(&theirs.key, &theirs.user_path(&user, "/api-keys"))
            .await
            .json();
        let (config, key) = (text(&config["id"]), text(&keys["data"][0]["id"]));
        let user_key = text(&user_keys["data"][0]["id"]);
        let before = app.get(&theirs.key, &budget).await;

        let body = json!({"is_active": false, "amount_usd": 1, "max_usd": 2});
        for (method, path, foreign) in [
            ("GET", "/end-users/{}", &user.id),
            ("PATCH", "/end-users/{}", &user.id),
            ("DELETE", "/end-users/{}", &user.id),
            ("GET", "/end-users/{}/api-keys", &user.id),
            ("POST", "/end-users/{}/api-keys", &user.id),
            ("GET", "/end-users/{}/budget", &user.id),
            ("POST", "/end-users/{}/budget", &user.id),
            ("PATCH", "/end-users/{}/budget", &user.id),
            ("DELETE", "/end-users/{}/budget", &user.id),
            ("POST", "/end-users/{}/budget/topup", &user.id),
            ("POST", "/end-users/{}/budget/debit", &user.id),
            ("PATCH", "/api-keys/{}", &key),
            ("DELETE", "/api-keys/{}", &key),
            ("DELETE", "/api-keys/{}", &user_key),
            ("GET", "/llm-configs/{}", &config),
            ("PATCH", "/llm-configs/{}", &config),
            ("DELETE", "/llm-configs/{}", &config),
            (
                "DELETE",
                &format!("/end-users/{}/api-keys/{{}}", my_user.id),
                &user_key,
            ),
        ] {
            let mut answers = Vec::new();
            for id in [foreign.as_str(), UNKNOWN, "no-uuid"] {
                let path = mine.path(&path.replace("{}", id));
                let answer = app.send(&mine.key, method, &path, &body).await;
                assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text);
                answers.push(answer.anonymous_error());
            }
            assert_eq!(answers[0], answers[1], "{method} {path}");
            assert_eq!(answers[1], answers[2], "{method} {path}");
        }
        let by_name = app
            .get(&mine.key, &mine.path("/end-users/external:their-user"))
            .await;
        by_name.refused(404, "end_user_not_found");
        let listed = app
            .get(&mine.key, &mine.path("/end-users?external_id=their-user"))
            .await
            .json();
        assert_eq!(listed["total"], 0);
        assert_eq!(app.get(&theirs.key, &budget).await.text, before.text);
        app.get(&user.key, "/v1/me").await.data(200);
    }
}
