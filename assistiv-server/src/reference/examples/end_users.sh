set -eu
# Make an end user, or one more key for it; the answer shows the key this once
curl -fsS -X POST "{API_BASE}/v1/platforms/$PLATFORM_ID/end-users" -H "Authorization: Bearer $PLATFORM_KEY" \
  -H "Content-Type: application/json" \
  -d '{"external_id": "user-42", "display_name": "Ada"}'
echo
# Read it by the name that you gave it
curl -fsS "{API_BASE}/v1/platforms/$PLATFORM_ID/end-users/external:user-42" -H "Authorization: Bearer $PLATFORM_KEY"
echo
