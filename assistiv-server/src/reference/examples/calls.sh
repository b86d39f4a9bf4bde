set -eu
# Ask a model, paid from the budget of the end user
curl -fsS -X POST "{API_BASE}/v1/chat/completions" -H "Authorization: Bearer $END_USER_KEY" \
  -H "Content-Type: application/json" \
  -d '{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}'
echo
# What may be asked
curl -fsS "{API_BASE}/v1/models" -H "Authorization: Bearer $END_USER_KEY"
echo
# What it would cost
curl -fsS -X POST "{API_BASE}/v1/quotes" -H "Authorization: Bearer $END_USER_KEY" \
  -H "Content-Type: application/json" \
  -d '{"endpoint": "/v1/chat/completions", "request": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}}'
echo
