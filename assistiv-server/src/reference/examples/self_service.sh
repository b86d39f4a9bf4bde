set -eu
# Who am I
curl -fsS "{API_BASE}/v1/me" -H "Authorization: Bearer $END_USER_KEY"
echo
# What is left
curl -fsS "{API_BASE}/v1/me/budget" -H "Authorization: Bearer $END_USER_KEY"
echo
# How fast may I be
curl -fsS "{API_BASE}/v1/me/rate-limits" -H "Authorization: Bearer $END_USER_KEY"
echo
