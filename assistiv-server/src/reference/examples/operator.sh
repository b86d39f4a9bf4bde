set -eu
# All platforms
curl -fsS "{API_BASE}/v1/admin/platforms" -H "Authorization: Bearer $OPERATOR_KEY"
echo
# What is charged
curl -fsS "{API_BASE}/v1/admin/prices?provider=openai&limit=5" -H "Authorization: Bearer $OPERATOR_KEY"
echo
