set -eu
# Let an end user spend five dollars more; with an Idempotency-Key a repeat adds nothing
curl -fsS -X POST "{API_BASE}/v1/platforms/$PLATFORM_ID/end-users/$END_USER_ID/budget/topup" -H "Authorization: Bearer $PLATFORM_KEY" \
  -H "Idempotency-Key: $(date +%s%N)" \
  -H "Content-Type: application/json" \
  -d '{"amount_usd": "5.00", "reason": "bonus"}'
echo
# What moved the budget
curl -fsS "{API_BASE}/v1/platforms/$PLATFORM_ID/end-users/$END_USER_ID/budget/transactions?limit=5" -H "Authorization: Bearer $PLATFORM_KEY"
echo
