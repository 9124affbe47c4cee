# Sources of others: from Debian's archive with apt's own downloader, which checks the SHA-256.
# $(call fetch,DIRECTORY IN THE POOL,SHA256) makes $@, the file of that name.
define fetch
@mkdir -p $(@D)
@site="$$(apt-get indextargets --format '$$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | \
	grep -v security | sort -u | head -n1)"; \
test -n "$$site" || { echo "no Debian archive in apt's sources: run apt-get update$(if $3,, or give $3)"; exit 1; }; \
/usr/lib/apt/apt-helper -o APT::Sandbox::User=root download-file \
	"$${site}pool/main/$1/$(@F)" $@.part SHA256:$2
@mv $@.part $@
endef
