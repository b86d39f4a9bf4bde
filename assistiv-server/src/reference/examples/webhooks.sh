set -eu
# Who is told of events; POST adds an https URL
curl -fsS "{API_BASE}/v1/platforms/$PLATFORM_ID/webhooks" -H "Authorization: Bearer $PLATFORM_KEY"
echo
