set -eu
# The balance, and what moved it lately
curl -fsS "{API_BASE}/v1/platforms/$PLATFORM_ID/wallet" -H "Authorization: Bearer $PLATFORM_KEY"
echo
# Be told when it falls to five dollars
curl -fsS -X PATCH "{API_BASE}/v1/platforms/$PLATFORM_ID/wallet" -H "Authorization: Bearer $PLATFORM_KEY" \
  -H "Content-Type: application/json" \
  -d '{"low_balance_threshold": "5.00"}'
echo
