set -eu
# One more key for an end user
curl -fsS -X POST "{API_BASE}/v1/platforms/$PLATFORM_ID/end-users/$END_USER_ID/api-keys" -H "Authorization: Bearer $PLATFORM_KEY" \
  -H "Content-Type: application/json" \
  -d '{"name": "Phone", "scopes": ["inference", "self"]}'
echo
# All keys of end users, without their text
curl -fsS "{API_BASE}/v1/platforms/$PLATFORM_ID/api-keys?type=end_user" -H "Authorization: Bearer $PLATFORM_KEY"
echo
