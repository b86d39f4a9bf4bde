set -eu
# The platform's keys for providers
curl -fsS "{API_BASE}/v1/platforms/$PLATFORM_ID/llm-configs" -H "Authorization: Bearer $PLATFORM_KEY"
echo
# A name of your own for a model
curl -fsS -X PUT "{API_BASE}/v1/platforms/$PLATFORM_ID/model-routes" -H "Authorization: Bearer $PLATFORM_KEY" \
  -H "Content-Type: application/json" \
  -d '{"overrides": [{"model": "gpt-4o-mini", "aliases": ["fast"]}]}'
echo
