set -eu
# The newest calls
curl -fsS "{API_BASE}/v1/platforms/$PLATFORM_ID/logs?limit=5" -H "Authorization: Bearer $PLATFORM_KEY"
echo
# This month, by model and day
curl -fsS "{API_BASE}/v1/platforms/$PLATFORM_ID/usage?group_by=model&interval=day" -H "Authorization: Bearer $PLATFORM_KEY"
echo
