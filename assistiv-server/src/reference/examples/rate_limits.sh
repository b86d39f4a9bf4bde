set -eu
# Six hundred requests in a minute for one end user
curl -fsS -X PUT "{API_BASE}/v1/platforms/$PLATFORM_ID/end-users/$END_USER_ID/rate-limits" -H "Authorization: Bearer $PLATFORM_KEY" \
  -H "Content-Type: application/json" \
  -d '{"rpm_limit": 600}'
echo
# And the platform's default again
curl -fsS -X DELETE "{API_BASE}/v1/platforms/$PLATFORM_ID/end-users/$END_USER_ID/rate-limits" -H "Authorization: Bearer $PLATFORM_KEY"
echo
