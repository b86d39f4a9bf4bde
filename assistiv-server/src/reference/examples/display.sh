set -eu
# The ledgers of an end user
curl -fsS "{API_BASE}/v1/platforms/$PLATFORM_ID/end-users/$END_USER_ID/wallet" -H "Authorization: Bearer $PLATFORM_KEY"
echo
