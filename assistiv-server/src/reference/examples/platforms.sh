set -eu
# Read the platform
curl -fsS "{API_BASE}/v1/platforms/$PLATFORM_ID" -H "Authorization: Bearer $PLATFORM_KEY"
echo
# Refuse calls of end users who have no budget
curl -fsS -X PATCH "{API_BASE}/v1/platforms/$PLATFORM_ID" -H "Authorization: Bearer $PLATFORM_KEY" \
  -H "Content-Type: application/json" \
  -d '{"settings": {"require_budget": true}}'
echo
