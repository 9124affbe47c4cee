# The Helm chart: what it renders is looked at by helm itself, by the API's types, and by the program.

HELM_TOOLS = $(B)/helm-tools

$(HELM_TOOLS)/helm: tests/helm/tools.txt tests/helm/tools.sh
	@tests/helm/tools.sh $(HELM_TOOLS)
	@touch $@

test-helm: $(B)/dnproxy $(HELM_TOOLS)/helm
	yamllint -s -c tests/helm/yamllint.yml deploy/helm/dnproxy/Chart.yaml deploy/helm/dnproxy/values.yaml tests/helm/values
	DNPROXY=$(abspath $<) HELM_TOOLS=$(abspath $(HELM_TOOLS)) $(PYTEST) -n 2 --dist loadgroup tests/helm

# The table of values in the chart's README, from the schema.
helm-readme:
	deploy/helm/values_table.py

.PHONY: test-helm helm-readme
